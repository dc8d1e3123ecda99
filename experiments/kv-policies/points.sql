-- points.sql: a run a row, its passkey figures of protocol a beside it (NULL: not measured).
ATTACH 'quality.db' AS q;
CREATE TEMP TABLE family(id INTEGER PRIMARY KEY, policy, evicts);
INSERT INTO family(policy, evicts) VALUES ('full', 0), ('oracle_topk', 0), ('quest', 0), ('duo', 1),
    ('keydiff', 1), ('lagkv', 1), ('h2o', 1), ('tova', 1), ('snapkv', 1), ('roco', 1),
    ('paged_eviction', 1), ('streaming', 1), ('random', 1);
CREATE TEMP TABLE passkey AS
SELECT kv_policy AS policy, json_extract(params, '$."kv.budget"') AS budget, resident_tokens AS resident,
       read_tokens AS reads, length, max(value) FILTER (WHERE metric = 'log_p') AS log_p,
       max(low) FILTER (WHERE metric = 'log_p') AS low, max(high) FILTER (WHERE metric = 'log_p') AS high,
       max(value) FILTER (WHERE metric = 'accuracy') AS accuracy, max(n) AS n
FROM q.quality WHERE task = 'passkey' AND protocol = 'a' GROUP BY 1, 2;
CREATE TEMP TABLE point AS
SELECT substr(r.point, 1, instr(r.point, ',') - 1) AS load, f.id, f.policy, f.evicts,
       CASE r.kv_policy WHEN 'full' THEN NULL ELSE json_extract(r.config, '$."kv.budget"') END AS budget,
       r.quality_ref, m.*
FROM runs AS r JOIN family AS f ON f.policy = r.kv_policy
JOIN (SELECT run_id, max(value) FILTER (WHERE metric = 'goodput_rps') AS goodput,
             max(value) FILTER (WHERE metric = 'slo_attainment') AS in_time,
             max(value) FILTER (WHERE metric = 'ttft_ms_mean') AS ttft,
             max(value) FILTER (WHERE metric = 'ttft_ms_p99') AS ttft_p99,
             max(value) FILTER (WHERE metric = 'tpot_ms_mean') AS tpot,
             max(value) FILTER (WHERE metric = 'batch_size_mean') AS batch,
             max(value) FILTER (WHERE metric = 'preemptions') AS preemptions,
             max(value) FILTER (WHERE metric = 'kv_utilisation_mean') AS used
      FROM summary GROUP BY run_id) AS m ON m.run_id = r.id
WHERE r.experiment = 'kv-policies';
CREATE TEMP VIEW beside AS
SELECT p.*, k.resident, k.reads, k.length, k.log_p, k.low, k.high, k.accuracy, k.n
FROM point AS p LEFT JOIN passkey AS k
     ON k.policy = p.policy AND (k.budget = p.budget OR p.policy = 'full')
        AND (p.quality_ref IS NOT NULL OR p.policy = 'full');
