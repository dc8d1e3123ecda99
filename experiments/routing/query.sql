-- query.sql: hit rate, time to first token and imbalance of every router, averaged over seeds.
--
-- imbalance: of the prompt tokens that had to be computed, for requests that arrived in one and the
-- same minute, what the busiest replica got / what each would get if all got the same; over all
-- minutes, each with the weight of its work. 1: even.
CREATE TEMP TABLE work AS
SELECT run_id, arrived_ns / 60000000000 AS minute, replica, sum(prompt_tokens - cached_tokens) AS tokens
FROM requests WHERE replica IS NOT NULL GROUP BY 1, 2, 3;

CREATE TEMP TABLE figure AS
SELECT json_extract(config, '$."trace.rate_scale"') AS load,
       json_extract(config, '$."router.snapshot_age_ms"') AS age, router, min(id) AS place,
       avg((SELECT value FROM summary WHERE run_id = id AND metric = 'cache_hit_rate')) AS hits,
       avg((SELECT value FROM summary WHERE run_id = id AND metric = 'ttft_ms_mean')) AS ttft,
       avg((SELECT value FROM summary WHERE run_id = id AND metric = 'ttft_ms_p99')) AS ttft_p99,
       avg((SELECT value FROM summary WHERE run_id = id AND metric = 'slo_attainment')) AS attained,
       avg((SELECT value FROM summary WHERE run_id = id AND metric = 'refused')) AS refused,
       avg((SELECT 1.0 * replicas * sum(busiest) / sum(tokens)
            FROM (SELECT max(tokens) AS busiest, sum(tokens) AS tokens FROM work
                  WHERE run_id = id GROUP BY minute))) AS imbalance
FROM runs WHERE experiment = 'routing' GROUP BY config_hash;

.mode list
SELECT line FROM (
    SELECT load, -1 AS place, char(10) || 'arrivals x ' || load || ', loads as they are' || char(10)
           || char(10) || '| router | hit rate, % | TTFT mean, ms | p99 | imbalance | in time, % | refused |'
           || char(10) || '|---|---|---|---|---|---|---|' AS line
    FROM figure GROUP BY load
    UNION ALL
    SELECT load, place, printf('| %s | %.1f | %.0f | %.0f | %.2f | %.1f | %.0f |', router, 100 * hits, ttft,
           ttft_p99, imbalance, 100 * attained, refused)
    FROM figure WHERE age = 0
    UNION ALL
    SELECT load, 1e9, char(10) || 'arrivals x ' || load || ', mean TTFT in ms, by the age of loads in ms'
           || char(10) || char(10) || '| router | ' || group_concat(age, ' | ') || ' |' || char(10)
           || '|---|' || group_concat('---|', '')
    FROM (SELECT DISTINCT load, age FROM figure ORDER BY age) GROUP BY load
    UNION ALL
    SELECT load, 1e9 + place, '| ' || router || ' | ' || group_concat(printf('%.0f', ttft), ' | ') || ' |'
    FROM (SELECT load, router, ttft, min(place) OVER (PARTITION BY load, router) AS place
          FROM figure ORDER BY age)
    GROUP BY load, router)
ORDER BY load, place;

-- Data of the picture, at the load that the claim is about: 3, or the only one.
CREATE TEMP TABLE drawn AS
SELECT * FROM figure WHERE load = (SELECT min(3, max(load)) FROM figure);
.once routers.dat
SELECT '"' || router || '" ' || (100 * hits) || ' ' || ttft || ' ' || imbalance
FROM drawn WHERE age = 0 ORDER BY place;
.once ages.dat
SELECT line FROM (
    SELECT router, min(place) AS place, -1 AS age, '"' || router || '"' AS line
    FROM drawn GROUP BY router
    UNION ALL
    SELECT router, min(place) OVER (PARTITION BY router), age, age || ' ' || ttft
           || iif(age = max(age) OVER (PARTITION BY router), char(10) || char(10), '')
    FROM drawn)
ORDER BY place, age;
