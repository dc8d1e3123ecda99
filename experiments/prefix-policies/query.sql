-- query.sql: rates.csv as tables by trace (Markdown) and as curves (conversation.dat,
-- synthetic.dat), and what the policies do in a run.
DROP TABLE IF EXISTS rate; -- of an earlier call
.mode csv
.import rates.csv rate
.headers off
.mode list
CREATE TEMP TABLE policy(id INTEGER PRIMARY KEY, name);
INSERT INTO policy(name) VALUES ('lru'), ('lfu'), ('fifo'), ('sieve'), ('s3fifo'), ('gdsf'), ('pgdsf'),
    ('marconi'), ('belady');

CREATE TEMP VIEW cell AS
SELECT r.trace, p.id, p.name, CAST(r.share AS INTEGER) AS share, r.hit_rate
FROM rate AS r JOIN policy AS p ON p.name = r.policy ORDER BY trace, id, share;

SELECT line FROM (
    SELECT trace, 0 AS id, '| ' || trace || ', tokens hit, % | ' || group_concat(share || ' %', ' | ') || ' |'
           || char(10) || '|---' || group_concat('|---', '') || '|' AS line
    FROM (SELECT DISTINCT trace, share FROM cell ORDER BY share) GROUP BY trace
    UNION ALL SELECT trace, id, '| ' || name || ' | ' || group_concat(printf('%.1f', hit_rate), ' | ') || ' |'
    FROM cell GROUP BY trace, id
    UNION ALL SELECT DISTINCT trace, 1000, '' FROM cell)
ORDER BY trace, id;
SELECT '| in a run, arrivals x ' || load || ' | tokens hit, % | TTFT mean, ms | p99 | in time, % |' || char(10)
       || '|---|---|---|---|---|' || char(10) || group_concat(line, char(10)) || char(10)
FROM (SELECT json_extract(config, '$."trace.rate_scale"') AS load, p.id,
             printf('| %s | %.1f | %.0f | %.0f | %.1f |', prefix_policy,
                    100 * max(value) FILTER (WHERE metric = 'cache_hit_rate'),
                    max(value) FILTER (WHERE metric = 'ttft_ms_mean'),
                    max(value) FILTER (WHERE metric = 'ttft_ms_p99'),
                    100 * max(value) FILTER (WHERE metric = 'slo_attainment')) AS line
      FROM runs JOIN summary ON run_id = runs.id JOIN policy AS p ON p.name = prefix_policy
      WHERE experiment = 'prefix-policies' GROUP BY runs.id ORDER BY 1, 2)
GROUP BY load ORDER BY load;

.separator "\n"
CREATE TEMP VIEW curve AS
SELECT t.trace, p.id, 0 AS share, '"' || p.name || '"' AS line FROM policy AS p, (SELECT DISTINCT trace FROM cell) AS t
UNION ALL SELECT trace, id, share, share || ' ' || hit_rate FROM cell
UNION ALL SELECT t.trace, p.id, 1000, char(10) FROM policy AS p, (SELECT DISTINCT trace FROM cell) AS t;
.once conversation.dat
SELECT line FROM curve WHERE trace LIKE '%conv%' ORDER BY id, share;
.once synthetic.dat
SELECT line FROM curve WHERE trace LIKE '%synth%' ORDER BY id, share;
