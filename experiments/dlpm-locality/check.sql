-- check.sql: a line for every bar that is missed.
ATTACH 'figure.db' AS figure;
CREATE TEMP TABLE ratio AS
SELECT d.name, d.workload, d.clients, d.rps / l.rps AS to_lpm, d.rps / v.rps AS to_vtc
FROM figure.cell AS d
JOIN figure.cell AS l ON l.name = d.name AND l.policy = 'lpm'
JOIN figure.cell AS v ON v.name = d.name AND v.policy = 'vtc'
WHERE d.policy = 'dlpm' AND d.replicas = 1 AND NOT d.swept;

SELECT printf('%s: DLPM has %.3f of the throughput of LPM, less than 0.9', name, to_lpm)
FROM ratio WHERE to_lpm < 0.9;
SELECT printf('%s: DLPM has %.3f of the throughput of LPM, less than 0.95', name, to_lpm)
FROM ratio WHERE workload <> 'loogle' AND to_lpm < 0.95;
SELECT printf('%s: DLPM has only %.2f times the throughput of VTC', name, to_vtc)
FROM ratio WHERE workload IN ('judge', 'judge-hot', 'loogle') AND clients = 50 AND to_vtc < 2;
SELECT printf('%s, where nothing is shared: DLPM has %.3f of the throughput of VTC', name, to_vtc)
FROM ratio WHERE workload IN ('judge-cold', 'arena') AND abs(to_vtc - 1) > 0.03;
SELECT printf('%s: under DLPM two backlogged clients differ by %d, the bound is %d', name,
              extend_diff, bound)
FROM figure.cell WHERE policy = 'dlpm' AND extend_diff > bound;

SELECT printf('%s: a quantum of %d gives less locality than %d', workload, quantum, smaller)
FROM (SELECT workload, quantum, hits, lag(hits) OVER by_quantum AS hits_before,
             lag(quantum) OVER by_quantum AS smaller
      FROM figure.cell WHERE policy = 'dlpm' AND name LIKE 'judge-hot 50%'
      WINDOW by_quantum AS (ORDER BY quantum))
WHERE hits < hits_before;
SELECT 'judge-hot 50: the largest quantum is no less fair than the smallest'
FROM (SELECT max(extend_jain) FILTER (WHERE quantum = 2000) AS smallest,
             max(extend_jain) FILTER (WHERE quantum = 80000) AS largest
      FROM figure.cell WHERE policy = 'dlpm' AND name LIKE 'judge-hot 50%')
WHERE largest >= smallest;

CREATE TEMP TABLE jain AS
SELECT max(jain) FILTER (WHERE policy = 'vtc') AS vtc,
       max(jain) FILTER (WHERE policy = 'dlpm') AS d2lpm,
       max(jain) FILTER (WHERE policy = 'lpm prefix-aware') AS prefix_aware,
       max(jain) FILTER (WHERE policy = 'lpm') AS round_robin
FROM figure.cell WHERE name = 'judge-hot 32 x4';
SELECT printf('4 replicas: Jain of VTC %.4f, D2LPM %.4f, prefix-aware %.4f, round robin + LPM %.4f',
              vtc, d2lpm, prefix_aware, round_robin)
FROM jain WHERE NOT (vtc >= d2lpm AND d2lpm > prefix_aware AND prefix_aware > round_robin);
