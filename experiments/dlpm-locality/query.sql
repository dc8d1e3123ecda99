-- query.sql: throughput, locality and fairness of every cell, over seeds: the tables of the README,
-- tracks.dat and curve.dat for the picture, and figure.db, which check.sql looks at.
--
-- A label is "WORKLOAD CLIENTS[ quantum Q| x4], POLICY" (dlpm-locality.json). Jain's index is of the
-- service that contract.md defines, whole prompts; `extend` marks what counts of prompts only what
-- was computed, which is what DLPM divides.
ATTACH 'figure.db' AS figure;

CREATE TEMP TABLE length (workload, longest_prompt, longest_output); -- as drawn
INSERT INTO length VALUES ('loogle', 21497, 25), ('judge', 2749, 384), ('judge-hot', 2749, 384),
    ('judge-cold', 2749, 384), ('tot', 562, 384), ('arena', 84, 213);

-- The bound of scheduling.md 3.6 with the U that holds for paged memory.
DROP TABLE IF EXISTS figure.cell;
CREATE TABLE figure.cell AS
WITH label AS (SELECT id, config, replicas, substr(point, 1, instr(point, ', ') - 1) AS name,
                      substr(point, instr(point, ', ') + 2) AS policy FROM runs),
     part AS (SELECT *, substr(name, 1, instr(name, ' ') - 1) AS workload,
                     CAST(substr(name, instr(name, ' ') + 1) AS INT) AS clients FROM label),
     run AS (SELECT p.*, max(value) FILTER (WHERE metric = 'request_throughput_rps') AS rps,
                    max(value) FILTER (WHERE metric = 'cache_hit_rate') AS hits,
                    max(value) FILTER (WHERE metric = 'jain_index') AS jain,
                    max(value) FILTER (WHERE metric = 'extend_jain_index') AS extend_jain,
                    max(value) FILTER (WHERE metric = 'extend_diff_max') AS extend_diff
             FROM part AS p JOIN summary ON run_id = id GROUP BY id)
SELECT name, workload, clients, replicas, policy, name LIKE '%quantum%' AS swept,
       ifnull(json_extract(config, '$."dlpm.quantum"'), 0) AS quantum, avg(rps) AS rps,
       avg(hits) AS hits, avg(jain) AS jain, avg(extend_jain) AS extend_jain,
       max(extend_diff) AS extend_diff,
       2 * replicas * (longest_prompt + 2 * longest_output * json_extract(config, '$.max_num_seqs')
                       + ifnull(json_extract(config, '$."dlpm.quantum"'), 0)) AS bound,
       min(id) AS place
FROM run JOIN length USING (workload) GROUP BY name, policy ORDER BY place;

CREATE TEMP TABLE row AS
SELECT v.workload, v.clients, v.name, v.place, f.rps AS fcfs, v.rps AS vtc, l.rps AS lpm,
       d.rps AS dlpm, v.hits AS hits_v, l.hits AS hits_l, d.hits AS hits_d, v.jain AS jain_v,
       l.jain AS jain_l, d.jain AS jain_d, v.extend_jain AS extend_v, l.extend_jain AS extend_l,
       d.extend_jain AS extend_d, d.extend_diff, d.bound
FROM figure.cell AS v
JOIN figure.cell AS l ON l.name = v.name AND l.policy = 'lpm'
JOIN figure.cell AS d ON d.name = v.name AND d.policy = 'dlpm'
LEFT JOIN figure.cell AS f ON f.name = v.name AND f.policy = 'fcfs'
WHERE v.policy = 'vtc' AND v.replicas = 1 AND NOT v.swept;

.mode list
.headers off
SELECT '| workload | clients | requests/s: FCFS | VTC | LPM | DLPM | DLPM / LPM | DLPM / VTC | hit rate, %: VTC, LPM, DLPM | Jain: VTC, LPM, DLPM | of what was computed | worst pair / bound |';
SELECT '|---|--:|--:|--:|--:|--:|--:|--:|---|---|---|--:|';
SELECT printf('| %s | %d | %s | %.2f | %.2f | %.2f | %.3f | %.3f | %.0f, %.0f, %.0f | %.3f, %.3f, %.3f | %.3f, %.3f, %.3f | %.2f |',
              workload, clients, CASE WHEN fcfs IS NULL THEN '-' ELSE printf('%.2f', fcfs) END, vtc, lpm, dlpm,
              dlpm / lpm, dlpm / vtc, 100 * hits_v, 100 * hits_l, 100 * hits_d, jain_v, jain_l,
              jain_d, extend_v, extend_l, extend_d, ifnull(extend_diff, 0) / bound)
FROM row ORDER BY place;
SELECT '';
SELECT '| workload, 50 clients | quantum of DLPM | requests/s | hit rate, % | Jain | of what was computed |';
SELECT '|---|--:|--:|--:|--:|--:|';
SELECT printf('| %s | %d | %.2f | %.1f | %.3f | %.3f |', workload, quantum, rps, 100 * hits, jain,
              extend_jain)
FROM figure.cell
WHERE policy = 'dlpm' AND replicas = 1 AND clients = 50
  AND workload IN (SELECT workload FROM figure.cell WHERE swept)
ORDER BY workload, quantum;
SELECT '';
SELECT '| 4 replicas | policy | requests/s | hit rate, % | Jain | of what was computed |';
SELECT '|---|---|--:|--:|--:|--:|';
SELECT printf('| %s | %s | %.2f | %.1f | %.4f | %.4f |', name, policy, rps, 100 * hits, jain,
              extend_jain)
FROM figure.cell WHERE replicas > 1
ORDER BY name, instr('vtc, dlpm, lpm prefix-aware, lpm, fcfs', policy || ',') + (policy = 'fcfs') * 99;

.once tracks.dat
SELECT line FROM (
    SELECT min(place) AS place, 0 AS clients,
           char(10) || char(10) || '"' || workload || '"' AS line
    FROM row GROUP BY workload
    UNION ALL
    SELECT min(place) OVER (PARTITION BY workload), clients,
           printf('%d %.4f %.4f %.4f', clients, vtc, lpm, dlpm) FROM row)
ORDER BY place, clients;
.once curve.dat
SELECT printf('%.4f %.4f "%s"', 100 * hits, extend_jain,
              CASE policy WHEN 'dlpm' THEN printf('%g', quantum / 1e3) || 'k' ELSE upper(policy) END)
FROM figure.cell
WHERE name LIKE 'judge%50%' AND replicas = 1 AND workload IN ('judge-hot', 'judge')
  AND policy IN ('vtc', 'lpm', 'dlpm') AND (policy = 'dlpm' OR NOT swept)
  AND workload = (SELECT max(workload) FROM figure.cell WHERE workload IN ('judge-hot', 'judge'))
ORDER BY quantum;
