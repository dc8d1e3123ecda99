-- query.sql: what was simulated beside what was measured (measured.db, which `prepare` makes): the
-- table, and twin.dat for the picture.
ATTACH 'measured.db' AS measured;

CREATE TEMP TABLE pair AS -- a simulated run, and each that was measured on the same slice
SELECT s.id AS s_id, m.id AS m_id, m.rep, s.point AS slice
FROM runs AS s JOIN measured.runs AS m
  ON m.trace_sha256 = s.trace_sha256
 AND json_extract(m.config, '$."trace.limit"') = json_extract(s.config, '$."trace.limit"')
 AND json_extract(m.config, '$."trace.rate_scale"') = json_extract(s.config, '$."trace.rate_scale"');

-- What check.sql looks at: a figure of a slice; the runs measured mean, least and most.
DROP TABLE IF EXISTS measured.compared;
CREATE TABLE measured.compared AS
SELECT slice, f.metric, f.value AS simulated, count(*) AS runs, avg(m.value) AS mean,
       min(m.value) AS least, max(m.value) AS most
FROM pair JOIN summary AS f ON f.run_id = s_id
JOIN measured.summary AS m ON m.run_id = m_id AND m.metric = f.metric
WHERE f.metric IN (SELECT a || '_ms_' || b
                   FROM (SELECT column1 AS a FROM (VALUES ('ttft'), ('tpot'), ('e2el'))),
                        (SELECT column1 AS b FROM (VALUES ('mean'), ('p50'), ('p90'), ('p99'))))
GROUP BY slice, f.metric;

.mode list
.headers off
SELECT '| slice | runs | metric | mean | p50 | p90 | p99 | measured mean, ms | runs apart |';
SELECT '|---|--:|---|--:|--:|--:|--:|--:|--:|';
SELECT printf('| %s | %d | %s | %+.1f | %+.1f | %+.1f | %+.1f | %.1f | %.1f |', slice, runs,
              replace(metric, '_ms_mean', ''),
              100 * (simulated / mean - 1),
              (SELECT 100 * (simulated / mean - 1) FROM measured.compared AS q
               WHERE q.slice = c.slice AND q.metric = replace(c.metric, 'mean', 'p50')),
              (SELECT 100 * (simulated / mean - 1) FROM measured.compared AS q
               WHERE q.slice = c.slice AND q.metric = replace(c.metric, 'mean', 'p90')),
              (SELECT 100 * (simulated / mean - 1) FROM measured.compared AS q
               WHERE q.slice = c.slice AND q.metric = replace(c.metric, 'mean', 'p99')),
              mean, 100 * (most - least) / mean)
FROM measured.compared AS c WHERE metric LIKE '%mean' ORDER BY slice, metric;

-- For the picture: of two slices (else of all), second by second, a block for each of the two
-- measured runs and then the simulation: s, TTFT and TPOT (ms) of what arrived in it, the requests
-- that wait, the share of the KV cache in use.
CREATE TEMP TABLE side AS
SELECT slice, 'run ' || rep AS who, rep AS n, m_id AS id, 1 AS is_measured FROM pair WHERE rep < 2
UNION SELECT slice, 'simulated', 9, s_id, 0 FROM pair;
CREATE TEMP TABLE drawn AS
SELECT * FROM side
WHERE slice IN ('conv-12', 'code-09') OR NOT EXISTS (SELECT 1 FROM side WHERE slice = 'conv-12');

CREATE TEMP TABLE request AS
SELECT n, slice, arrived_ns / 1000000000 AS s, (first_token_ns - arrived_ns) / 1e6 AS ttft,
       CASE WHEN output_tokens > 1 THEN (done_ns - first_token_ns) / 1e6 / (output_tokens - 1) END
       AS tpot
FROM drawn JOIN requests ON run_id = id AND NOT is_measured
UNION ALL
SELECT n, slice, arrived_ns / 1000000000, (first_token_ns - arrived_ns) / 1e6,
       CASE WHEN output_tokens > 1 THEN (done_ns - first_token_ns) / 1e6 / (output_tokens - 1) END
FROM drawn JOIN measured.requests ON run_id = id AND is_measured;
CREATE TEMP TABLE sample AS
SELECT n, slice, at_ns / 1000000000 AS s, series, value
FROM drawn JOIN timeline ON run_id = id AND NOT is_measured
UNION ALL
SELECT n, slice, at_ns / 1000000000, series, value
FROM drawn JOIN measured.timeline ON run_id = id AND is_measured;
CREATE TEMP TABLE second AS
SELECT slice, n, s, ifnull(ttft, 'NaN') AS ttft, ifnull(tpot, 'NaN') AS tpot, waiting, kv
FROM (SELECT slice, n, s, max(value) FILTER (WHERE series = 'waiting') AS waiting,
             100 * max(value) FILTER (WHERE series = 'kv_utilisation') AS kv
      FROM sample GROUP BY slice, n, s)
LEFT JOIN (SELECT slice, n, s, avg(ttft) AS ttft, avg(tpot) AS tpot FROM request
           GROUP BY slice, n, s) USING (slice, n, s);
.once twin.dat
SELECT text FROM (
    SELECT slice, n, -1 AS s, char(10) || char(10) || '"' || slice || ' ' || who || '"' AS text
    FROM drawn
    UNION ALL
    SELECT slice, n, s, s || ' ' || ttft || ' ' || tpot || ' ' || waiting || ' ' || kv FROM second)
ORDER BY slice DESC, n, s;
