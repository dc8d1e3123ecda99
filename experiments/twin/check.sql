-- check.sql: a line for every figure that is off by more than 5 % of the measured runs' mean.
ATTACH 'measured.db' AS measured;
SELECT printf('%s: %s is %.2f simulated and %.2f measured (%+.1f %%)', slice, metric, simulated, mean,
              100 * (simulated / mean - 1))
FROM measured.compared
WHERE (metric NOT LIKE 'ttft%' OR metric = 'ttft_ms_mean') AND abs(simulated / mean - 1) > 0.05;
SELECT printf('%d of 7 slices were simulated', count(DISTINCT slice)) FROM measured.compared
HAVING count(DISTINCT slice) NOT IN (1, 7);
