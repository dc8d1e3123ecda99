-- query.sql: mean and p99 of normalised latency (end to end / output tokens), ms a token, averaged
-- over seeds, for every workload, load and policy.
CREATE TEMP TABLE figure AS
SELECT replace(replace(trace, rtrim(trace, replace(trace, '/', '')), ''), '.csv', '') AS workload,
       json_extract(config, '$."trace.rate_scale"') AS load, scheduler,
       substr(tail, instr(tail, ', ') + 2) AS policy, -- scheduler and predictor
       metric, avg(value) AS value, min(id) AS place
FROM (SELECT *, substr(point, instr(point, 'rate_scale=')) AS tail FROM runs
      WHERE experiment = 'speculative')
JOIN summary ON run_id = id
WHERE metric IN ('norm_latency_ms_mean', 'norm_latency_ms_p99', 'preemptions')
GROUP BY config_hash, metric;

-- The axis of the picture's right half: from the best predictor to the worst.
CREATE TEMP TABLE predictor AS
SELECT column1 AS name, column2 AS place FROM (VALUES
    ('perfect', 0), ('+-20%', 1), ('+-50%', 2), ('+-100%', 3), ('real', 4), ('history', 5),
    ('useless', 6));

CREATE TEMP TABLE shown AS -- the table's order of policies
SELECT DISTINCT policy, coalesce(place, -1) AS place, scheduler
FROM (SELECT DISTINCT policy, scheduler FROM figure)
LEFT JOIN predictor ON policy = scheduler || ' ' || name;

CREATE TEMP TABLE printed AS
SELECT workload, metric, policy, scheduler, '| ' || policy || ' | '
       || group_concat(printf('%.0f', value), ' | ') || ' |' AS line
FROM (SELECT * FROM figure ORDER BY load) GROUP BY workload, metric, policy;

.mode list
SELECT line FROM (
    SELECT workload, metric, 0 AS part, '' AS scheduler, 0 AS place, char(10) || workload || ', '
           || iif(metric LIKE '%mean', 'mean', 'p99') || ' normalised latency, ms a token, by load'
           || char(10) || char(10) || '| policy | ' || group_concat(load, ' | ') || ' |' || char(10)
           || '|---|' || group_concat('---|', '') AS line
    FROM (SELECT DISTINCT workload, metric, load FROM figure ORDER BY load)
    GROUP BY workload, metric
    UNION ALL
    SELECT p.workload, p.metric, 1, p.scheduler, s.place, p.line
    FROM printed AS p JOIN shown AS s USING (policy))
WHERE metric <> 'preemptions'
ORDER BY workload, metric, part, place >= 0, scheduler, place;

-- Data of the picture: a block a curve, its title first, two empty lines between blocks.
.mode list
.once curves.dat
SELECT line FROM (
    SELECT DISTINCT workload, policy, -1 AS load, '"' || workload || ': ' || policy || '"' AS line
    FROM figure
    UNION ALL
    SELECT workload, policy, load, load || ' ' || value || iif(load = max(load) OVER
           (PARTITION BY workload, policy), char(10) || char(10), '')
    FROM figure WHERE metric LIKE '%mean')
JOIN (SELECT column1 AS policy, column2 AS place FROM (VALUES ('fcfs', 0), ('sjf', 1),
      ('fastserve', 2), ('ssjf real', 3), ('alise real', 4), ('s3 real', 5))) USING (policy)
ORDER BY workload, place, load;

-- At load 1.1: what the mean is of that under fcfs.
.once quality.dat
SELECT line FROM (
    SELECT DISTINCT workload, scheduler, -1 AS place,
           '"' || workload || ': ' || scheduler || '"' AS line
    FROM figure
    UNION ALL
    SELECT f.workload, f.scheduler, p.place, p.place || ' "' || p.name || '" '
           || (f.value / base.value) || iif(p.place = max(p.place) OVER
           (PARTITION BY f.workload, f.scheduler), char(10) || char(10), '')
    FROM figure AS f JOIN predictor AS p ON f.policy = f.scheduler || ' ' || p.name
    JOIN figure AS base ON base.policy = 'fcfs' AND base.workload = f.workload
        AND base.load = f.load AND base.metric = f.metric
    WHERE f.metric LIKE '%mean' AND f.load = 1.1)
JOIN (SELECT column1 AS scheduler, column2 AS kind FROM (VALUES ('ssjf', 0), ('alise', 1),
      ('s3', 2))) USING (scheduler)
ORDER BY workload, kind, place;
