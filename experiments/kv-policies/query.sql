-- query.sql: the runs beside what their policies lose, by load and budget, and as points (goodput
-- against log p of the key) in azure.dat and mooncake.dat.
.headers off
.mode list
.read ../../experiments/kv-policies/points.sql
CREATE TEMP VIEW line AS
SELECT load, b.budget, id,
       printf('| %s | %s | %.0f | %.2f | %.1f | %.0f | %.0f | %.1f | %.1f | %d | %s |', policy,
              CASE WHEN evicts THEN 'both' WHEN policy = 'full' THEN '-' ELSE 'read only' END,
              100 * used, goodput, 100 * in_time, ttft, ttft_p99, tpot, batch, preemptions,
              CASE WHEN log_p IS NULL THEN 'quality not measured | - | -'
                   ELSE printf('%.0f / %.0f of %d | %.1f | %.2f [%.2f, %.2f]', resident, reads, length,
                               accuracy, log_p, low, high) END) AS text
FROM beside JOIN (SELECT DISTINCT budget FROM point WHERE budget IS NOT NULL) AS b
     ON b.budget = beside.budget OR beside.budget IS NULL;
SELECT '| ' || load || ', budget ' || budget || ' | budget counts | memory used, % | goodput, 1/s | in time, % |'
       || ' TTFT mean, ms | p99 | TPOT mean, ms | batch | preemptions | resident / read, SmolLM2 |'
       || ' passkey | log p of the key [95 %] |' || char(10) || '|---|---|---|---|---|---|---|---|---|---|---|---|---|'
       || char(10) || group_concat(text, char(10)) || char(10)
FROM (SELECT * FROM line ORDER BY load, budget, id) GROUP BY load, budget ORDER BY load, budget;

-- A block a policy, empty ones too, so that a policy has one colour in both.
CREATE TEMP VIEW dot AS
SELECT f.id, 0 AS at, l.load, '"' || f.policy || '"' AS text FROM family AS f, (SELECT DISTINCT load FROM point) AS l
UNION ALL SELECT id, 1 + coalesce(budget, 1), load,
                 printf('%.4f %.4f %.2f', log_p, goodput, coalesce(budget, 1)) FROM beside WHERE log_p IS NOT NULL
UNION ALL SELECT f.id, 10, l.load, char(10) FROM family AS f, (SELECT DISTINCT load FROM point) AS l;
.once azure.dat
SELECT text FROM dot WHERE load = 'azure' ORDER BY id, at;
.once mooncake.dat
SELECT text FROM dot WHERE load = 'mooncake' ORDER BY id, at;
