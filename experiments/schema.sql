-- schema.sql: the database of record, version 1. Compiled into the program; also the documentation
-- of the results: every number that tandem prints or draws is read from these tables.
--
-- Conventions
--   *_ns     integer nanoseconds; points in time count from the run's zero (the first record of a
--            trace with wall-clock stamps, else the trace's own zero)
--   *_ms     milliseconds, *_s seconds, *_rps requests per second, *_tps tokens per second
--   shares, rates of success and utilisations are 0..1, never percent
--   NULL     did not happen, does not apply, or not measured; never 0, never -1, never NaN
-- One run is one transaction: it is here complete or not at all.
-- Deleting a row of `runs` deletes everything of that run (with PRAGMA foreign_keys = ON).

PRAGMA user_version = 1;

-- One simulated, executed or replayed run: what was asked, with what, by which program.
CREATE TABLE runs (
    id            INTEGER PRIMARY KEY, -- a run that replaces an earlier one of its key keeps its id
    experiment    TEXT,    -- name of the experiment (sweep); NULL: a single run
    point         TEXT,    -- which point of the experiment's axes; NULL: a single run
    config        TEXT,    -- resolved configuration as JSON: all defaults filled, keys sorted
    config_hash   TEXT NOT NULL, -- SHA-256 of config without seed, rep and keys that cannot change
                                 -- results; each path replaced by the hash of its content
    seed          INTEGER NOT NULL, -- of every random stream; 64 bits, above 2^63-1 shown negative
    rep           INTEGER NOT NULL, -- repetition with the same seed (measured runs differ)
    digest        TEXT,    -- 16 hexadecimal digits: hash over all decisions and their times
    trace         TEXT,    -- file or generator specification
    trace_sha256  TEXT,    -- of the file's content; NULL: generated
    trace_format  TEXT,
    model         TEXT,
    gpu           TEXT,    -- cpu: it ran on none
    backend       TEXT,    -- where step times come from
    profile       TEXT,    -- measured profile or fitted file; NULL: none
    inputs_sha256 TEXT,    -- over every file that was read
    scheduler     TEXT,
    router        TEXT,
    kv_policy     TEXT,    -- inside a sequence; 'full' keeps everything, all others lose quality
    prefix_policy TEXT,    -- which cached prefix goes first
    predictor     TEXT,    -- of output lengths; NULL: none
    replicas      INTEGER,
    clock         TEXT,    -- virtual | paced
    slo_source    TEXT,    -- config | default: nobody set limits
    cost_model    TEXT,    -- which model gave the step times, in words
    quality_ref   TEXT,    -- where the quality of kv_policy was measured; NULL: not measured
    git_revision  TEXT,    -- of the program
    dirty         INTEGER, -- 1: built from a modified tree
    compiler      TEXT,
    host          TEXT,
    driver        TEXT,    -- GPU driver; NULL: no GPU used
    started_at    TEXT,    -- ISO 8601, UTC
    wall_s        REAL,    -- how long the run took us, not simulated time
    status        TEXT,    -- done
    UNIQUE (config_hash, seed, rep)
);

-- What an experiment claims, as its file says. Databases of older programs get this table when they
-- are written to.
CREATE TABLE experiments (
    name  TEXT PRIMARY KEY, -- = runs.experiment
    claim TEXT NOT NULL     -- in words; '': none
) WITHOUT ROWID;

-- One number of a run. Names and definitions: `tandem list metrics`.
-- request_rows_dropped, if there: how many rows `requests` lacks (max_request_rows); the other
-- metrics count them all the same.
CREATE TABLE summary (
    run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    metric TEXT NOT NULL, -- ttft_ms_p99, goodput_rps, ...
    value  REAL,          -- NULL: nothing to measure it on
    PRIMARY KEY (run_id, metric)
) WITHOUT ROWID;

-- One request of the trace, written when it left. At most max_request_rows a run.
CREATE TABLE requests (
    run_id         INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    seq            INTEGER NOT NULL, -- position in the trace, from 0
    tenant         TEXT,             -- client; NULL: none
    session        TEXT,             -- conversation; NULL: none
    turn           INTEGER,          -- within the session, from 0; NULL: none
    slo_class      TEXT,             -- class whose limits held; NULL: none
    arrived_ns     INTEGER,
    admitted_ns    INTEGER,          -- first admission to a batch; NULL: never
    first_token_ns INTEGER,          -- NULL: never
    done_ns        INTEGER,          -- last token, or refusal; NULL: unfinished
    prompt_tokens  INTEGER,          -- with the history
    output_tokens  INTEGER,          -- emitted
    max_tokens     INTEGER,          -- what the client asked for at most
    cached_tokens  INTEGER,          -- of the prompt, found in the prefix cache at first admission
    preemptions    INTEGER,          -- how often it lost its place
    itl_max_ns     INTEGER,          -- largest gap between its tokens; NULL: fewer than two
    replica        INTEGER,          -- from 0; NULL: never routed
    status         TEXT NOT NULL,    -- finished | refused | unfinished (at the horizon)
    reason         TEXT,             -- length | capacity | prompt_too_long | policy | router |
                                     -- parent; NULL: none
    met_slo        INTEGER NOT NULL, -- 1: finished within every limit of its class
    PRIMARY KEY (run_id, seq)
) WITHOUT ROWID;

-- One client of a run.
CREATE TABLE tenants (
    run_id         INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    tenant         TEXT NOT NULL,
    requests       INTEGER,
    service        REAL, -- w_p x prompt tokens + w_q x output tokens
    share          REAL, -- of the service of all tenants
    ttft_ms_mean   REAL,
    ttft_ms_p99    REAL,
    e2el_ms_p50    REAL,
    e2el_ms_p99    REAL,
    slo_attainment REAL,
    PRIMARY KEY (run_id, tenant)
) WITHOUT ROWID;

-- One iteration of continuous batching on one replica. Only with --steps; backend replay reads it.
CREATE TABLE steps (
    run_id         INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    replica        INTEGER NOT NULL,
    step           INTEGER NOT NULL, -- count on this replica
    at_ns          INTEGER,          -- start
    duration_ns    INTEGER,          -- start to tokens visible
    device_ns      REAL,             -- of that, busy on the device
    host_ns        REAL,             -- of that, on the host
    n_decode       INTEGER,          -- sequences that decoded a token
    n_prefill      INTEGER,          -- sequences that computed a part of their prompt
    decode_tokens  INTEGER,
    prefill_tokens INTEGER,
    context_tokens INTEGER,          -- sum over the batch of the context attended to
    kv_units_used  INTEGER,          -- page units held
    preempted      INTEGER,          -- requests preempted while the batch was formed
    prefill_history INTEGER,         -- of context_tokens, what prompts had computed before
    prefill_pairs  REAL,             -- (query, key) pairs of the prompts' attention
    PRIMARY KEY (run_id, replica, step)
) WITHOUT ROWID;

-- One swap of KV cache between device and host. Only with --steps.
CREATE TABLE transfers (
    run_id       INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    replica      INTEGER NOT NULL,
    n            INTEGER NOT NULL, -- count on this replica
    seq          INTEGER,          -- the request
    direction    TEXT,             -- out: to the host | in: back
    units        INTEGER,          -- page units moved
    submitted_ns INTEGER,
    done_ns      INTEGER,          -- NULL: cut off by the horizon, or by the end of its request
    PRIMARY KEY (run_id, replica, n)
) WITHOUT ROWID;

-- State over time: a value holds from at_ns to the next sample of its series. Sampled every second
-- of simulated time; the interval doubles whenever a series passes 2,000 samples.
CREATE TABLE timeline (
    run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    at_ns  INTEGER NOT NULL,
    series TEXT NOT NULL, -- waiting, running: requests; kv_utilisation: 0..1; batch_tokens: tokens;
                          -- service:<tenant>: cumulative service
    value  REAL,
    PRIMARY KEY (run_id, series, at_ns)
) WITHOUT ROWID;

-- Distributions, 16 buckets an octave; empty buckets are left out.
CREATE TABLE histograms (
    run_id      INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    metric      TEXT NOT NULL, -- ttft_ms, tpot_ms, itl_ms, e2el_ms, ...: unit in the name
    bucket_low  REAL,          -- in that unit; values v with bucket_low <= v < bucket_high
    bucket_high REAL,
    count       INTEGER
);
CREATE INDEX histograms_of_run ON histograms (run_id, metric, bucket_low);

-- What a lossy KV policy costs in quality, against full attention on the same tokens
-- (`tandem quality`; never timed). NULL in layer, head, length or depth: over all of them.
CREATE TABLE quality (
    run_id          INTEGER REFERENCES runs (id) ON DELETE CASCADE, -- NULL: of no serving run
    model           TEXT,
    kv_policy       TEXT,
    params          TEXT,    -- JSON
    resident_tokens REAL,    -- kept in memory a sequence, mean
    read_tokens     REAL,    -- read a decode step, mean
    task            TEXT,    -- passkey | copy | ppl | recall
    protocol        TEXT,    -- a: the question comes after eviction | b: it is in the prompt
    length          INTEGER, -- context, tokens
    depth           REAL,    -- where the needle lies, 0..1 of the context
    layer           INTEGER,
    head            INTEGER,
    metric          TEXT,
    value           REAL,
    low             REAL,    -- confidence interval of value
    high            REAL,
    n               INTEGER  -- samples behind value
);
CREATE INDEX quality_of_run ON quality (run_id);

-- Latencies of every run, one row a metric. label: the point of the experiment, else the policies.
CREATE VIEW latency (run_id, label, metric, mean_ms, p50_ms, p90_ms, p95_ms, p99_ms) AS
SELECT r.id, coalesce(r.point, r.scheduler || '/' || r.router || '/' || r.kv_policy), m.metric,
       (SELECT value FROM summary WHERE run_id = r.id AND metric = m.metric || '_ms_mean'),
       (SELECT value FROM summary WHERE run_id = r.id AND metric = m.metric || '_ms_p50'),
       (SELECT value FROM summary WHERE run_id = r.id AND metric = m.metric || '_ms_p90'),
       (SELECT value FROM summary WHERE run_id = r.id AND metric = m.metric || '_ms_p95'),
       (SELECT value FROM summary WHERE run_id = r.id AND metric = m.metric || '_ms_p99')
FROM runs AS r,
     (SELECT 'ttft' AS metric UNION ALL SELECT 'tpot' UNION ALL SELECT 'itl' UNION ALL
      SELECT 'e2el' UNION ALL SELECT 'queue' UNION ALL SELECT 'norm_latency') AS m;

-- SLO attainment by class, over the stored rows of requests that arrived after the warm-up
-- (warmup_s of the configuration). n = met + missed; refused and unfinished requests miss.
CREATE VIEW slo (run_id, label, slo_class, n, met, attainment) AS
SELECT r.id, coalesce(r.point, r.scheduler || '/' || r.router || '/' || r.kv_policy), q.slo_class,
       count(*), sum(q.met_slo), avg(q.met_slo)
FROM runs AS r JOIN requests AS q ON q.run_id = r.id
WHERE q.arrived_ns >= 1e9 * CASE WHEN json_valid(r.config)
                                 THEN coalesce(json_extract(r.config, '$.warmup_s'), 0) ELSE 0 END
GROUP BY r.id, q.slo_class;

-- A configuration over its seeds: mean, smallest (low) and largest (high) value of a metric. Runs
-- that repeat a seed are averaged first. Runs of different configurations (config_hash) are never
-- mixed, even where the columns shown agree.
CREATE VIEW compare (experiment, point, scheduler, router, kv_policy, metric, mean, low, high,
                     n_seeds) AS
SELECT experiment, point, scheduler, router, kv_policy, metric, avg(value), min(value), max(value),
       count(value)
FROM (SELECT r.experiment, r.point, r.scheduler, r.router, r.kv_policy, r.config_hash, s.metric,
             avg(s.value) AS value
      FROM runs AS r JOIN summary AS s ON s.run_id = r.id
      GROUP BY r.experiment, r.point, r.config_hash, r.seed, s.metric)
GROUP BY experiment, point, config_hash, metric;

-- Which configurations of an experiment are worth having: on_front = 1 if no other one does as well
-- in goodput, TTFT, fairness and cost, and better in one of them. front_* ask the same of goodput
-- and one other figure. Means over the seeds, as in `compare`; a figure that was not measured is the
-- worst. Only what had the same work is compared (the keys trace and slo).
--   gpus       replicas x tensor_parallel_size
--   gpu_hours  GPU-hours for 1,000 good requests: gpus / goodput_rps / 3.6; NULL: none was good
CREATE VIEW pareto (experiment, point, config_hash, workload, n_seeds, gpus, goodput_rps,
                    ttft_ms_p99, jain_index, gpu_hours, on_front, front_latency, front_fairness,
                    front_cost) AS
WITH of_seed AS (
    SELECT r.experiment, r.config_hash, r.seed, min(r.id) AS id,
           avg(CASE s.metric WHEN 'goodput_rps' THEN s.value END) AS goodput,
           avg(CASE s.metric WHEN 'ttft_ms_p99' THEN s.value END) AS ttft,
           avg(CASE s.metric WHEN 'jain_index' THEN s.value END) AS jain
    FROM runs AS r JOIN summary AS s ON s.run_id = r.id
    WHERE s.metric IN ('goodput_rps', 'ttft_ms_p99', 'jain_index')
    GROUP BY r.experiment, r.config_hash, r.seed
), of_config AS (
    SELECT experiment, config_hash, min(id) AS id, count(*) AS n_seeds, avg(goodput) AS goodput,
           avg(ttft) AS ttft, avg(jain) AS jain
    FROM of_seed GROUP BY experiment, config_hash
), figures AS MATERIALIZED (
    SELECT c.*, coalesce(r.point, r.scheduler || '/' || r.router || '/' || r.kv_policy) AS point,
           (SELECT group_concat(key || '=' || value, ' ') FROM json_each(r.config)
            WHERE key IN ('trace', 'slo') OR key LIKE 'trace.%') AS workload,
           r.replicas * (r.config ->> '$.tensor_parallel_size') AS gpus,
           -- the larger the better, NULL the worst
           coalesce(c.goodput, 0) AS g, coalesce(-c.ttft, -9e999) AS l, coalesce(c.jain, 0) AS f,
           coalesce(-r.replicas * (r.config ->> '$.tensor_parallel_size')
                    / nullif(c.goodput, 0), -9e999) AS p
    FROM of_config AS c JOIN (SELECT id, point, scheduler, router, kv_policy, replicas,
                                     CASE WHEN json_valid(config) THEN config END AS config
                              FROM runs) AS r ON r.id = c.id
), fronts AS (
    SELECT a.id,
           max(b.g >= a.g AND b.l >= a.l AND b.f >= a.f AND b.p >= a.p
               AND (b.g > a.g OR b.l > a.l OR b.f > a.f OR b.p > a.p)) AS beaten,
           max(b.g >= a.g AND b.l >= a.l AND (b.g > a.g OR b.l > a.l)) AS beaten_l,
           max(b.g >= a.g AND b.f >= a.f AND (b.g > a.g OR b.f > a.f)) AS beaten_f,
           max(b.g >= a.g AND b.p >= a.p AND (b.g > a.g OR b.p > a.p)) AS beaten_p
    FROM figures AS a JOIN figures AS b
         ON b.experiment IS a.experiment AND b.workload IS a.workload
    GROUP BY a.id
)
SELECT experiment, point, config_hash, workload, n_seeds, gpus, goodput, ttft, jain,
       gpus / nullif(goodput, 0) / 3.6, NOT beaten, NOT beaten_l, NOT beaten_f, NOT beaten_p
FROM figures JOIN fronts USING (id);
