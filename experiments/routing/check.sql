-- check.sql: what contradicts the claim, load by load.
CREATE TEMP TABLE work AS
SELECT run_id, max(tokens) AS busiest, sum(tokens) AS tokens
FROM (SELECT run_id, arrived_ns / 60000000000 AS minute, replica,
             sum(prompt_tokens - cached_tokens) AS tokens
      FROM requests WHERE replica IS NOT NULL GROUP BY 1, 2, 3)
GROUP BY run_id, minute;

CREATE TEMP TABLE figure AS
SELECT json_extract(config, '$."trace.rate_scale"') AS load,
       json_extract(config, '$."router.snapshot_age_ms"') AS age, router,
       avg((SELECT value FROM summary WHERE run_id = id AND metric = 'cache_hit_rate')) AS hits,
       avg((SELECT value FROM summary WHERE run_id = id AND metric = 'ttft_ms_mean')) AS ttft,
       avg((SELECT 1.0 * replicas * sum(busiest) / sum(tokens) FROM work WHERE run_id = id)) AS imbalance
FROM runs WHERE experiment = 'routing' GROUP BY config_hash;

SELECT printf('arrivals x %g: prefix_aware hits %.3f, jsq %.3f', p.load, p.hits, j.hits)
FROM figure AS p JOIN figure AS j USING (load, age)
WHERE age = 0 AND p.router = 'prefix_aware' AND j.router = 'jsq' AND NOT p.hits > 2.5 * j.hits;

SELECT printf('arrivals x %g: imbalance under jsq %.2f, prefix_aware %.2f, round_robin %.2f', j.load,
              j.imbalance, p.imbalance, r.imbalance)
FROM figure AS j JOIN figure AS p USING (load, age) JOIN figure AS r USING (load, age)
WHERE age = 0 AND j.router = 'jsq' AND p.router = 'prefix_aware' AND r.router = 'round_robin'
  AND NOT (j.imbalance < p.imbalance AND j.imbalance <= r.imbalance);

SELECT printf('arrivals x %g: mean TTFT under %s is %.1f ms, under %s %.1f', p.load, p.router, p.ttft,
              o.router, o.ttft)
FROM figure AS p JOIN figure AS o USING (load, age)
WHERE age = 0 AND p.router = 'mooncake' AND o.router <> 'mooncake'
  AND NOT p.ttft < o.ttft;

SELECT printf('arrivals x %g: %s has a mean TTFT of %.1f ms with loads %g ms old, %.1f without', o.load,
              o.router, o.ttft, o.age, n.ttft)
FROM figure AS o JOIN figure AS n USING (load, router)
WHERE n.age = 0 AND o.age <= 100 AND router <> 'weighted' AND NOT o.ttft < 1.03 * n.ttft;

SELECT 'no figures' WHERE NOT EXISTS (SELECT 1 FROM figure WHERE router = 'jsq');
