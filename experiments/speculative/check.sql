-- check.sql: what contradicts the claim, workload by workload; mean normalised latency.
CREATE TEMP TABLE figure AS
SELECT json_extract(config, '$.trace') AS workload, json_extract(config, '$."trace.rate_scale"') AS load,
       substr(tail, instr(tail, ', ') + 2) AS policy, avg(value) AS value
FROM (SELECT *, substr(point, instr(point, 'rate_scale=')) AS tail FROM runs
      WHERE experiment = 'speculative')
JOIN summary ON run_id = id AND metric = 'norm_latency_ms_mean'
GROUP BY config_hash;

CREATE TEMP TABLE beside AS -- a row a workload and load
SELECT workload, load, max(value) FILTER (WHERE policy = 'fcfs') AS fcfs,
       max(value) FILTER (WHERE policy = 'sjf') AS sjf,
       max(value) FILTER (WHERE policy = 'ssjf perfect') AS perfect,
       max(value) FILTER (WHERE policy = 'ssjf +-100%') AS noisy,
       max(value) FILTER (WHERE policy = 'ssjf real') AS real,
       max(value) FILTER (WHERE policy = 'ssjf useless') AS useless
FROM figure GROUP BY workload, load;

SELECT printf('%s, load %g: %s', workload, load, wrong) FROM (
    SELECT *, CASE
        WHEN perfect IS NOT sjf THEN 'SSJF that knows everything is not SJF'
        WHEN load <= 0.6 AND (perfect < 0.97 * fcfs OR real < 0.97 * fcfs)
            THEN 'prediction helps although nobody waits'
        WHEN load >= 1.1 AND NOT perfect < 0.95 * fcfs THEN 'SJF is no better than FCFS'
        WHEN load >= 1.1 AND NOT fcfs - real > 0.75 * (fcfs - perfect)
            THEN 'the real predictor loses more than a quarter of the gain'
        WHEN load >= 1.1 AND NOT real < useless THEN 'the real predictor is no better than chance'
        WHEN load >= 1.1 AND noisy > 1.05 * perfect THEN 'an error of 100 % costs more than 5 %'
        END AS wrong
    FROM beside)
WHERE wrong IS NOT NULL;
SELECT 'no figures' WHERE NOT EXISTS (SELECT 1 FROM beside WHERE load >= 1.1);
