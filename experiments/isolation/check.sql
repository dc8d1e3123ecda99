-- check.sql: what contradicts the claim.
CREATE TEMP TABLE run AS
SELECT id, seed, json_extract(config, '$."prefix.isolation"') AS isolation, point LIKE '%audit%' AS audit
FROM runs WHERE experiment = 'isolation';

CREATE TEMP TABLE probe AS
SELECT run.id, isolation, slo_class = 'sent' AS sent, cached_tokens,
       rank() OVER one - 1 + (count(*) OVER tied + 1) / 2.0 AS rank
FROM run JOIN requests ON run_id = run.id WHERE audit AND tenant = 'auditor'
WINDOW one AS (PARTITION BY run.id ORDER BY first_token_ns - arrived_ns),
       tied AS (PARTITION BY run.id, first_token_ns - arrived_ns);

CREATE TEMP TABLE audit AS
SELECT id, isolation, m, n, (u - m * n / 2.0) / sqrt(m * n * (m + n + 1) / 12.0) AS z
FROM (SELECT id, isolation, sum(sent) AS m, sum(NOT sent) AS n,
             sum(rank) FILTER (WHERE NOT sent) - sum(NOT sent) * (sum(NOT sent) + 1) / 2.0 AS u
      FROM probe GROUP BY id);

SELECT 'no probes of both kinds' FROM (SELECT count(*) AS n FROM audit WHERE m > 50 AND n > 50) WHERE n < 2;

-- One in 10^6 by chance.
SELECT printf('sharing, and not found: z = %.1f', z) FROM audit WHERE isolation = 'none' AND NOT z > 4.9;
-- One in 500 by chance.
SELECT printf('isolated, and found: z = %.1f', z) FROM audit WHERE isolation = 'tenant' AND NOT abs(z) < 3.1;

SELECT printf('%d tokens hit that another tenant sent', sum(cached_tokens)) FROM probe
WHERE isolation = 'tenant' HAVING sum(cached_tokens) > 0;

SELECT printf('isolation costs nothing: %.3f of %.3f hit', t, n)
FROM (SELECT avg(value) FILTER (WHERE isolation = 'none') AS n, avg(value) FILTER (WHERE isolation = 'tenant') AS t
      FROM run JOIN summary ON run_id = id WHERE NOT audit AND metric = 'cache_hit_rate')
WHERE NOT t < 0.9 * n;
