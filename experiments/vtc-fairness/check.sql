-- check.sql: a line for every bar that is missed.
ATTACH 'measured.db' AS measured;
SELECT printf('run %d, %s: under FCFS the difference grows by %.0f/s, measured %.0f/s', run, suite,
              slope_s, slope_m)
FROM measured.compared
WHERE scheduler = 'FCFS' AND r2_m > 0.95 AND abs(slope_s / slope_m - 1) > 0.15;
SELECT printf('run %d, %s: under %s two backlogged clients differ by %d, the bound is %d', run, suite,
              scheduler, exact, bound)
FROM measured.compared WHERE scheduler = 'VTC' AND exact > bound;
SELECT printf('run %d, %s: under %s the difference reaches %.0f, measured %.0f', run, suite, scheduler,
              largest_s, largest_m)
FROM measured.compared
WHERE scheduler = 'VTC' AND max(largest_s / largest_m, largest_m / largest_s) > 1.5;
SELECT printf('run %d, %s, %s: %.0f tokens/s, measured %.0f', run, suite, scheduler, tps_s, tps_m)
FROM measured.compared WHERE abs(tps_s / tps_m - 1) > 0.05;
SELECT 'nowhere do two clients under FCFS differ by more than the bound of VTC: nothing is shown'
WHERE NOT EXISTS (SELECT 1 FROM measured.compared WHERE scheduler = 'FCFS' AND exact > bound);
