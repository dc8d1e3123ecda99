-- check.sql: what contradicts the claim.
.mode csv
.import rates.csv rate
.mode list
CREATE TEMP TABLE hit AS
SELECT trace, CAST(share AS INTEGER) AS share, policy, CAST(hit_rate AS REAL) AS rate FROM rate;

SELECT printf('%s, %d %%: %s hits %.2f %%, belady %.2f %%', h.trace, h.share, h.policy, h.rate, b.rate)
FROM hit AS h JOIN hit AS b USING (trace, share) WHERE b.policy = 'belady' AND h.rate > b.rate + 0.005;

SELECT printf('%s: in %d %% %s comes near belady, %.2f of %.2f %%', h.trace, share, h.policy, h.rate, b.rate)
FROM hit AS h JOIN hit AS b USING (trace, share)
WHERE b.policy = 'belady' AND share <= 2 AND h.policy <> 'belady' AND h.rate > 0.5 * b.rate
  AND h.trace NOT LIKE '%500%'; -- a trace of 500 requests has too few that come back

SELECT printf('%s, %d %%: %s gains %.2f points on lru', h.trace, share, h.policy, h.rate - l.rate)
FROM hit AS h JOIN hit AS l USING (trace, share)
WHERE l.policy = 'lru' AND h.policy <> 'belady' AND h.rate > l.rate + 3.1 AND h.trace NOT LIKE '%500%';

SELECT printf('%s gains %.2f points on lru and loses %.2f', h.policy, max(h.rate - l.rate), max(l.rate - h.rate))
FROM hit AS h JOIN hit AS l USING (trace, share)
WHERE l.policy = 'lru' AND h.policy = 'pgdsf' AND h.trace NOT LIKE '%500%'
GROUP BY h.policy HAVING max(l.rate - h.rate) > 0.95 OR max(h.rate - l.rate) < max(l.rate - h.rate);

SELECT printf('%s: with room for all %s hits %.2f %%, lru %.2f %%', h.trace, h.policy, h.rate, l.rate)
FROM hit AS h JOIN hit AS l USING (trace, share)
WHERE share = 100 AND l.policy = 'lru' AND abs(h.rate - l.rate) > 1e-9;

SELECT 'a policy was not run: ' || count(*) FROM (SELECT DISTINCT prefix_policy FROM runs) HAVING count(*) <> 8;
