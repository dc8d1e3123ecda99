-- query.sql: what was simulated beside what was measured (measured.db, which `prepare` makes): the
-- tables, and FCFS.dat and VTC.dat for the picture.
--
-- Both sides are computed here, from each request's arrival, first token and end, in the artifact's
-- way (its plot_6.2_work_diff.py): the service of a request, prompt + 2 x output tokens, is spread
-- evenly between its first token and its last; the difference at a time is that of the client
-- which has most from the one which has least. Looked at are 1,000 points up to the last arrival.
-- The bound is held against the engine's own figure, which is exact: service_diff_max.
ATTACH 'measured.db' AS measured;

-- A simulated run, and one that was measured with the same requests and scheduler if there is one.
CREATE TEMP TABLE pair AS
SELECT row_number() OVER (ORDER BY m.run IS NULL, m.run, r.trace, r.scheduler) AS n, r.id, m.run,
       replace(substr(r.trace, instr(r.trace, '/traces/') + 8), '.csv', '') AS suite,
       coalesce(m.scheduler_dir, upper(r.scheduler)) AS scheduler,
       2 * max((SELECT max(prompt_tokens) FROM requests WHERE run_id = r.id),
               2 * json_extract(r.config, '$.num_gpu_blocks')) AS bound
FROM runs AS r LEFT JOIN measured.replayed AS m
  ON substr(r.trace, -length(m.trace)) = m.trace AND m.settings IS NOT NULL
 AND NOT EXISTS (SELECT 1 FROM json_each(m.settings) AS s
                 WHERE s.value IS NOT json_extract(r.config, '$."' || s.key || '"'));

CREATE TEMP TABLE life AS -- of a request; side m: measured, s: simulated
SELECT p.n, 'm' AS side, q.tenant, q.arrival_s, q.first_token_s, q.done_s, q.prompt_tokens,
       q.output_tokens
FROM pair AS p JOIN measured.request AS q USING (run)
UNION ALL
SELECT p.n, 's', q.tenant, q.arrived_ns / 1e9, q.first_token_ns / 1e9,
       CASE WHEN q.first_token_ns IS NOT NULL THEN q.done_ns / 1e9 END, q.prompt_tokens,
       q.output_tokens
FROM pair AS p JOIN requests AS q ON q.run_id = p.id;

CREATE TEMP TABLE span AS -- all clients are there from from_s to to_s
SELECT n, max(first_s) AS from_s, min(last_s) AS to_s, max(last_s) AS end_s
FROM (SELECT n, tenant, min(arrival_s) AS first_s, max(arrival_s) AS last_s FROM life
      WHERE side = 's' GROUP BY n, tenant)
GROUP BY n;

-- Service of a client at t: the sum over the events until then of a + b x t.
CREATE TEMP TABLE served AS
WITH RECURSIVE
    point(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM point WHERE k < 1000),
    look AS (SELECT n, end_s * k / 1000 AS t, k FROM span, point
             UNION ALL SELECT n, from_s, -1 FROM span
             UNION ALL SELECT n, to_s, -2 FROM span),
    rate AS (SELECT n, side, tenant, first_token_s, max(done_s, first_token_s + 1e-3) AS done_s,
                    (prompt_tokens + 2.0 * output_tokens) / max(done_s - first_token_s, 1e-3) AS b
             FROM life WHERE done_s IS NOT NULL),
    event AS (SELECT n, side, tenant, first_token_s AS t, -b * first_token_s AS a, b, NULL AS k
              FROM rate
              UNION ALL
              SELECT n, side, tenant, done_s, b * done_s, -b, NULL FROM rate
              UNION ALL
              SELECT n, side, tenant, t, 0, 0, k
              FROM (SELECT DISTINCT n, side, tenant FROM life) JOIN look USING (n))
SELECT n, side, tenant, t, k, service
FROM (SELECT *, sum(a) OVER until + sum(b) OVER until * t AS service FROM event
      WINDOW until AS (PARTITION BY n, side, tenant ORDER BY t))
WHERE k IS NOT NULL;

CREATE TEMP TABLE apart AS
SELECT n, side, k, t, max(service) - min(service) AS difference
FROM served WHERE k > 0 GROUP BY n, side, k;

CREATE TEMP TABLE figure AS -- of a side
WITH
    spread AS (SELECT n, side, max(difference) AS largest,
                      max(difference) FILTER (WHERE k = 1000) AS final,
                      avg(t * difference) - avg(t) * avg(difference) AS td,
                      avg(t * t) - avg(t) * avg(t) AS tt,
                      avg(difference * difference) - avg(difference) * avg(difference) AS dd
               FROM apart GROUP BY n, side),
    share AS (SELECT n, side, sum(x) * sum(x) / (count(*) * sum(x * x)) AS jain
              FROM (SELECT n, side, max(service) FILTER (WHERE k = -2)
                                    - max(service) FILTER (WHERE k = -1) AS x
                    FROM served WHERE k < 0 GROUP BY n, side, tenant)
              GROUP BY n, side),
    work AS (SELECT n, side, sum(prompt_tokens + output_tokens) FILTER (WHERE done_s IS NOT NULL)
                             / (max(done_s) - min(arrival_s)) AS tokens_per_s,
                    avg(first_token_s - arrival_s) AS first_token_s,
                    sum(done_s IS NULL) AS refused
             FROM life GROUP BY n, side)
SELECT n, side, final, largest, td / tt AS slope, td * td / (tt * nullif(dd, 0)) AS r2, jain,
       tokens_per_s, first_token_s, refused
FROM spread JOIN share USING (n, side) JOIN work USING (n, side);

-- What check.sql looks at.
DROP TABLE IF EXISTS measured.compared;
CREATE TABLE measured.compared AS
SELECT p.run, p.suite, p.scheduler, p.bound,
       (SELECT value FROM summary WHERE run_id = p.id AND metric = 'service_diff_max') AS exact,
       m.final AS final_m, s.final AS final_s, m.largest AS largest_m, s.largest AS largest_s,
       m.slope AS slope_m, s.slope AS slope_s, m.r2 AS r2_m, m.jain AS jain_m, s.jain AS jain_s,
       m.tokens_per_s AS tps_m, s.tokens_per_s AS tps_s, m.first_token_s AS ttft_m,
       s.first_token_s AS ttft_s, m.refused AS refused_m, s.refused AS refused_s
FROM pair AS p JOIN figure AS s ON s.n = p.n AND s.side = 's'
LEFT JOIN figure AS m ON m.n = p.n AND m.side = 'm' ORDER BY p.n;

.mode list
.headers off
SELECT '| run | suite | scheduler | | final difference | largest | slope, 1/s | worst pair | Jain | tokens/s | first token, s | refused |';
SELECT '|--:|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|';
SELECT printf('| %d | %s | %s | measured | %,d | %,d | %.0f | | %.4f | %.0f | %.1f | %d |', run,
              suite, scheduler, round(final_m), round(largest_m), slope_m, jain_m, tps_m, ttft_m,
              refused_m)
       || printf(char(10) || '| | | | simulated | %,d | %,d | %.0f | %,d | %.4f | %.0f | %.1f | %d |',
                 round(final_s), round(largest_s), slope_s, exact, jain_s, tps_s, ttft_s, refused_s)
FROM measured.compared WHERE run IS NOT NULL ORDER BY run;
SELECT printf('| | %s | %s | simulated | %,d | %,d | %.0f | %,d | %.4f | %.0f | %.1f | %d |', suite,
              scheduler, round(final_s), round(largest_s), slope_s, exact, jain_s, tps_s, ttft_s,
              refused_s)
FROM measured.compared WHERE run IS NULL;
SELECT '';
SELECT '| run | suite | scheduler | client | requests | first token, s: measured | simulated | % |';
SELECT '|--:|---|---|--:|--:|--:|--:|--:|';
SELECT printf('| %d | %s | %s | %s | %d | %.1f | %.1f | %+.1f |', p.run, p.suite, p.scheduler,
              tenant, requests, m, s, 100 * (s / m - 1))
FROM (SELECT n, tenant, count(*) FILTER (WHERE side = 'm') AS requests,
             avg(first_token_s - arrival_s) FILTER (WHERE side = 'm') AS m,
             avg(first_token_s - arrival_s) FILTER (WHERE side = 's') AS s
      FROM life GROUP BY n, tenant) JOIN pair AS p USING (n)
WHERE p.run IS NOT NULL ORDER BY n, CAST(tenant AS INT);

-- For the picture: suites in which every client asks for more than its share; a block a suite, under
-- its name: s, difference simulated, measured.
CREATE TEMP TABLE drawn AS
SELECT p.scheduler, p.suite, s.k, s.t, s.difference AS simulated, m.difference AS measured
FROM pair AS p JOIN apart AS s ON s.n = p.n AND s.side = 's' AND s.k % 10 = 0
LEFT JOIN apart AS m ON m.n = p.n AND m.side = 'm' AND m.k = s.k
WHERE p.suite IN ('overload', 'overload-23', 'overload-multi', 'poisson_short_long', 'small')
  AND (p.run IS NOT NULL OR p.suite = 'small')
UNION ALL
SELECT DISTINCT scheduler, suite, 0, NULL, NULL, NULL FROM pair;
CREATE TEMP VIEW line AS
SELECT scheduler, suite, k,
       CASE WHEN k > 0 THEN printf('%.1f %.0f ', t, simulated) || ifnull(round(measured), 'NaN')
            ELSE char(10) || char(10) || '"' || suite || '"' END AS text
FROM drawn WHERE (scheduler, suite) IN (SELECT scheduler, suite FROM drawn WHERE k > 0);
.once FCFS.dat
SELECT text FROM line WHERE scheduler = 'FCFS' ORDER BY suite, k;
.once VTC.dat
SELECT text FROM line WHERE scheduler = 'VTC' ORDER BY suite, k;
