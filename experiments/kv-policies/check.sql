-- check.sql: what contradicts the claim.
.read ../../experiments/kv-policies/points.sql
SELECT printf('%s: %s with %g serves %.3f in time, full %.3f', p.load, p.policy, p.budget, p.goodput, f.goodput)
FROM point AS p JOIN point AS f ON f.load = p.load AND f.policy = 'full'
WHERE p.policy <> 'full' AND p.goodput <= f.goodput;

SELECT printf('%s: %s keeps %g and serves %.3f in time, %s reads as much and serves %.3f', e.load, e.policy,
              e.budget, e.goodput, r.policy, r.goodput)
FROM point AS e JOIN point AS r ON r.load = e.load AND r.budget = e.budget AND NOT r.evicts
WHERE e.evicts AND e.goodput <= r.goodput;

SELECT printf('%s: with a fifth, goodput differs by %.1f %%', load, 100 * (1 - min(goodput) / max(goodput)))
FROM point WHERE evicts AND budget = 0.2 GROUP BY load HAVING min(goodput) < 0.97 * max(goodput);

SELECT printf('%s: with a fifth kept the best finds %.2f of the keys and the worst %.2f', load,
              max(accuracy), min(accuracy))
FROM beside WHERE evicts AND budget = 0.2 AND accuracy IS NOT NULL GROUP BY load
HAVING count(*) > 5 AND (max(accuracy) < (SELECT accuracy FROM passkey WHERE policy = 'full') OR min(accuracy) > 0);

SELECT printf('%s %s: the run points to figures, and none of passkey are there', load, policy)
FROM beside WHERE quality_ref IS NOT NULL AND log_p IS NULL;

SELECT 'no load was run' FROM (SELECT count(*) AS n FROM point) WHERE n = 0;
