-- query.sql: can the auditor tell what the victim sent? And what do hits of others save? Markdown; and
-- sent-ISOLATION.dat, fresh-ISOLATION.dat: the auditor's times to the first token, as the picture
-- takes them.
CREATE TEMP TABLE run AS
SELECT id, seed, json_extract(config, '$."prefix.isolation"') AS isolation, point LIKE '%audit%' AS audit
FROM runs WHERE experiment = 'isolation';

CREATE TEMP TABLE probe AS
SELECT run.id, isolation, seed, slo_class = 'sent' AS sent, (first_token_ns - arrived_ns) / 1e6 AS ttft,
       rank() OVER one - 1 + (count(*) OVER tied + 1) / 2.0 AS rank
FROM run JOIN requests ON run_id = run.id WHERE audit AND tenant = 'auditor'
WINDOW one AS (PARTITION BY run.id ORDER BY first_token_ns - arrived_ns),
       tied AS (PARTITION BY run.id, first_token_ns - arrived_ns);

-- Mann and Whitney: U counts the pairs in which the fresh one was later; AUC = U / pairs.
CREATE TEMP TABLE audit AS
SELECT id, isolation, seed, m, n, ms_sent, ms_fresh, u / (1.0 * m * n) AS auc,
       (u - m * n / 2.0) / sqrt(m * n * (m + n + 1) / 12.0) AS z
FROM (SELECT id, isolation, seed, sum(sent) AS m, sum(NOT sent) AS n,
             avg(ttft) FILTER (WHERE sent) AS ms_sent, avg(ttft) FILTER (WHERE NOT sent) AS ms_fresh,
             sum(rank) FILTER (WHERE NOT sent) - sum(NOT sent) * (sum(NOT sent) + 1) / 2.0 AS u
      FROM probe GROUP BY id);

SELECT '| prefix.isolation | probes | TTFT of sent, ms | of fresh | told apart (AUC) | z |' || char(10)
       || '|---|---|---|---|---|---|';
SELECT printf('| %s | %d | %.1f | %.1f | %.3f | %.1f |', isolation, m + n, ms_sent, ms_fresh, auc, z)
FROM audit GROUP BY isolation;

SELECT char(10) || '| prefix.isolation | tokens hit, % | TTFT mean, ms | p50 | p99 |' || char(10)
       || '|---|---|---|---|---|';
SELECT printf('| %s | %.1f | %.1f | %.1f | %.1f |', isolation,
              100 * avg(value) FILTER (WHERE metric = 'cache_hit_rate'),
              avg(value) FILTER (WHERE metric = 'ttft_ms_mean'), avg(value) FILTER (WHERE metric = 'ttft_ms_p50'),
              avg(value) FILTER (WHERE metric = 'ttft_ms_p99'))
FROM run JOIN summary ON run_id = id WHERE NOT audit GROUP BY isolation;

.once sent-none.dat
SELECT ttft FROM probe WHERE isolation = 'none' AND sent ORDER BY id, ttft;
.once fresh-none.dat
SELECT ttft FROM probe WHERE isolation = 'none' AND NOT sent ORDER BY id, ttft;
.once sent-tenant.dat
SELECT ttft FROM probe WHERE isolation = 'tenant' AND sent ORDER BY id, ttft;
.once fresh-tenant.dat
SELECT ttft FROM probe WHERE isolation = 'tenant' AND NOT sent ORDER BY id, ttft;
