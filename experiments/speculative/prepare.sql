-- prepare.sql: a workload with predictions. `raw` is its trace, `requests` those of a run in which all
-- were there from the start, `answer` the answers of vicuna-13b with what a BERT predictor said of
-- them (lmsys-chat; 5 classes).
--   real     the class that the predictor gave to an answer at the same place in its own distribution
--            of lengths, as the mean length of this workload's requests of that class
--   useless  the length of another request, each used once: right on average, and no more
-- A hash of the place in the trace stands for chance, so that everybody gets the same file.
CREATE TEMP TABLE request AS
SELECT rowid AS seq, CAST(arrival_s AS REAL) AS arrival_s, CAST(prompt_tokens AS INT) AS prompt_tokens,
       CAST(output_tokens AS INT) AS output_tokens,
       rowid * 2654435761 % 4294967296 / 4294967296.0 AS chance
FROM raw;

CREATE TEMP TABLE ranked AS
SELECT row_number() OVER (ORDER BY CAST(output_tokens AS INT), rowid) - 1 AS place,
       CAST(pred_class5 AS INT) AS class
FROM answer;
CREATE INDEX temp.by_place ON ranked (place);

CREATE TEMP TABLE said AS
SELECT seq, output_tokens, class
FROM (SELECT seq, output_tokens,
             (row_number() OVER (ORDER BY output_tokens, seq) - 0.5) / count(*) OVER ()
             + (chance - 0.5) / 100 AS place FROM request) AS wanted
JOIN (SELECT count(*) AS n FROM ranked)
JOIN ranked ON ranked.place = CAST(n * max(0, min(0.999999, wanted.place)) AS INT);

WITH drained AS (SELECT done_ns / 1e9 AS done_s, percent_rank() OVER (ORDER BY done_ns) AS p
                 FROM requests WHERE status = 'finished'),
     pace AS (SELECT sum(p BETWEEN 0.1 AND 0.9) / (max(done_s) FILTER (WHERE p <= 0.9)
                                                  - min(done_s) FILTER (WHERE p >= 0.1)) AS capacity
              FROM drained),
     own AS (SELECT (count(*) - 1) / (max(arrival_s) - min(arrival_s)) AS rate,
                    min(arrival_s) AS first_s FROM request),
     mean AS (SELECT class, CAST(round(avg(output_tokens)) AS INT) AS tokens
              FROM said GROUP BY class),
     other AS (SELECT output_tokens, row_number() OVER (ORDER BY chance) AS k FROM request)
SELECT printf('%.6f', (r.arrival_s - own.first_s) * own.rate / pace.capacity) AS arrival_s,
       r.prompt_tokens, r.output_tokens, mean.tokens AS real, other.output_tokens AS useless
FROM request AS r JOIN said USING (seq) JOIN mean USING (class)
JOIN other ON other.k = r.seq JOIN own JOIN pace
ORDER BY r.seq;
