-- prepare.sql: from the artifact's log to what is replayed. `prepare` has imported the two files as
-- they are, as `runs` and `responses`. This makes the tables `request` and `replayed` (a measured
-- run, and how it is simulated), and in the working directory, which is :folder from the root,
--   traces/SUITE.csv     requests of a run, once where runs have the same (SUITE-RUN.csv where a
--                        suite was drawn anew)
--   plan/SCHEDULER.json  for `tandem sweep`: what was measured under one of the artifact's
--                        schedulers, on the server that vtc-fairness.json (:config) describes
CREATE TABLE request AS
SELECT CAST(run AS INT) AS run, CAST(arrival_s AS REAL) AS arrival_s, client AS tenant,
       CAST(prompt_len AS INT) AS prompt_tokens, CAST(output_len AS INT) AS output_tokens,
       CASE WHEN request_latency_s >= 0 THEN arrival_s + first_token_latency_s END AS first_token_s,
       CASE WHEN request_latency_s >= 0 THEN arrival_s + request_latency_s END AS done_s
FROM (SELECT run, CAST(arrival_s AS REAL) AS arrival_s, client, prompt_len, output_len,
             CAST(first_token_latency_s AS REAL) AS first_token_latency_s,
             CAST(request_latency_s AS REAL) AS request_latency_s FROM responses);
CREATE INDEX request_of_run ON request (run);

CREATE TEMP TABLE content AS
SELECT run, 'arrival_s,prompt_tokens,output_tokens,tenant' || char(10) ||
       group_concat(printf('%.6f,%d,%d,%s', arrival_s, prompt_tokens, output_tokens, tenant),
                    char(10)) || char(10) AS csv
FROM (SELECT * FROM request ORDER BY run, arrival_s) GROUP BY run;

-- The artifact's names, as policies of ours; its rules are unchanged. Section 6.4 ran a larger model
-- on an A100, of which there is no calibration: step times are the roofline's.
CREATE TEMP TABLE policy AS
WITH named AS (SELECT DISTINCT scheduler_dir AS dir, replace(scheduler_dir, '_profile', '') AS plain
               FROM runs)
SELECT dir, json_patch(CASE
         WHEN plain = 'FCFS' THEN '{"scheduler":"fcfs"}'
         WHEN plain = 'VTC' THEN
           '{"scheduler":"vtc","vtc.predict":false,"vtc.weights":null}'
         WHEN plain = 'VTC_oracle' THEN
           '{"scheduler":"vtc","vtc.predict":true,"predictor":"oracle"}'
         WHEN plain = 'VTC_pred_50' THEN
           '{"scheduler":"vtc","vtc.predict":true,"predictor":"noisy","noisy.rel":0.5}'
         WHEN plain = 'VTC_predict' THEN '{"scheduler":"vtc","vtc.predict":true,"predictor":"ema"}'
         WHEN plain = 'WVTC' THEN
           '{"scheduler":"vtc","vtc.weights":{"0":1,"1":2,"2":3,"3":4}}'
         WHEN plain = 'LCF' THEN '{"scheduler":"lcf"}'
         WHEN plain LIKE '%DRR' THEN '{"scheduler":"drr"}'
         WHEN plain LIKE '%rpm%' THEN json_object('scheduler', 'rpm', 'rpm.k',
           CAST(substr(plain, instr(plain, 'rpm') + 3) AS INT))
         WHEN plain LIKE 'sec6.4/%' THEN json_object(
           'scheduler', CASE WHEN plain LIKE '%FCFS%' THEN 'fcfs' ELSE 'vtc' END,
           'model', 'llama-2-13b', 'gpu', 'a100-80g', 'backend', 'roofline', 'profile', NULL,
           'num_gpu_blocks', CAST(substr(plain, 8) AS INT),
           'max_num_batched_tokens', max(CAST(substr(plain, 8) AS INT) / 6, 3072))
       END, CASE WHEN plain <> dir THEN '{"vtc.cost":"profile"}'
            WHEN plain LIKE '%VTC%' THEN '{"vtc.cost":"linear"}' ELSE '{}' END) AS settings
FROM named;

CREATE TABLE replayed AS
WITH first AS (SELECT run, min(run) OVER (PARTITION BY csv) AS of_run FROM content),
     drawn AS (SELECT f.run, f.of_run, o.suite,
                      dense_rank() OVER (PARTITION BY o.suite ORDER BY f.of_run) AS nth
               FROM first AS f JOIN runs AS o ON CAST(o.run AS INT) = f.of_run)
SELECT d.run, r.suite, r.scheduler_dir, p.settings,
       'traces/' || d.suite || CASE WHEN d.nth > 1 THEN '-' || d.of_run ELSE '' END || '.csv'
       AS trace
FROM drawn AS d JOIN runs AS r ON CAST(r.run AS INT) = d.run
LEFT JOIN policy AS p ON p.dir = r.scheduler_dir
ORDER BY d.run;

SELECT 'SKIP: run ' || run || ' (' || scheduler_dir || '): no such scheduler here'
FROM replayed WHERE settings IS NULL;

CREATE TEMP TABLE written AS
SELECT writefile(trace, csv) AS bytes
FROM (SELECT DISTINCT r.trace, c.csv FROM replayed AS r JOIN content AS c USING (run))
UNION ALL
SELECT writefile('plan/' || replace(scheduler_dir, '/', '_') || '.json',
                 json_object('name', 'vtc-fairness',
                             'base', json_patch(json_extract(:config, '$.base'), settings),
                             'axes', json_object('trace',
                               json_group_array(DISTINCT :folder || '/' || trace))))
FROM replayed WHERE settings IS NOT NULL GROUP BY scheduler_dir, settings;
