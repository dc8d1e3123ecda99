# Usage: awk -F, -f vtc_steps.awk, on lines run,held_out,first_token_s,done_s,prompt,output of requests
# that got all their tokens, sorted by run and first_token_s. Prints steps for `tandem calibrate`;
# those with held_out 1 are printed, too, and nothing is taken from them.
#
# The log has no steps. But LightLLM's are either prompts or decodes, and a request with O output
# tokens lives through O - 1 decode steps and the prefill steps of others that fall between its first
# token and its last:
#
#   done - first_token = (O - 1) x decode(sequences, context) + k x prompt step + tokens x prompt token
#
# Who ran beside it is known from the same log, so this is one equation a request, linear in five
# unknowns. Least squares over all of them says what a prompt step costs; a request's decode steps
# then take what is left of its time, at the sequences and context of their mean.

# Solves the normal equations A x = y, both made by add().
function solve(n,    i, j, k, f) {
    for (i = 1; i <= n; i++)
        for (k = 1; k <= n; k++)
            if (k != i) {
                f = A[k, i] / A[i, i]
                for (j = i; j <= n; j++)
                    A[k, j] -= f * A[i, j]
                y[k] -= f * y[i]
            }
    for (i = 1; i <= n; i++)
        x[i] = y[i] / A[i, i]
}

# Each request's equation is divided by its decode steps: ms a step.
function add(v, ms,    i, j) {
    for (i = 1; i <= 5; i++) {
        for (j = 1; j <= 5; j++)
            A[i, j] += v[i] * v[j]
        y[i] += v[i] * ms
    }
}

# Prompts of one step get their first token within 4 ms.
function number_groups(    i) {
    g = 0
    for (i = 1; i <= n; i++) {
        if (i == 1 || first[i] - first[i - 1] > 0.004)
            tokens_of[++g] = 0
        group[i] = g
        tokens_of[g] += prompt[i]
        sum[g] = sum[g - 1] + tokens_of[g]
    }
}

# The number of the last group whose first token came by `t`.
function group_at(t,    low, high, mid) {
    low = 0
    high = n
    while (low < high) {
        mid = int((low + high + 1) / 2)
        if (first[mid] <= t) low = mid
        else high = mid - 1
    }
    return low ? group[low] : 0
}

function end_run(    i, j, life, s, e, at, seqs, context, steps, k, v) {
    number_groups()
    for (i = 1; i <= n; i++) {
        life = done[i] - first[i]
        steps = output[i] - 1
        if (steps < 15 || life <= 0)
            continue
        seqs = context = 0
        for (j = 1; j <= n && first[j] < done[i]; j++) {
            s = first[i] > first[j] ? first[i] : first[j]
            e = done[i] < done[j] ? done[i] : done[j]
            if (e <= s)
                continue
            at = ((s + e) / 2 - first[j]) / (done[j] - first[j])
            seqs += (e - s) / life
            context += (e - s) / life * (prompt[j] + 1 + at * (output[j] - 1))
        }
        k = group_at(done[i])
        v[1] = 1
        v[2] = seqs
        v[3] = context
        v[4] = (k - group[i]) / steps
        v[5] = (sum[k] - sum[group[i]]) / steps
        if (!held)
            add(v, life / steps * 1e3)
        m++
        of_run[m] = run "," held
        ms[m] = life / steps * 1e3
        for (j = 2; j <= 5; j++)
            row[m, j] = v[j]
    }
    delete count
    for (i = 1; i <= n; i++)
        count[group[i]]++
    for (i = 1; i <= group[n]; i++) # equal ones once: their time is not their own
        prompts[run "," held "," count[i] "," tokens_of[i]] = 1
    n = 0
}

$1 != run && n { end_run() }
{
    run = $1
    held = $2
    n++
    first[n] = $3
    done[n] = $4
    prompt[n] = $5
    output[n] = $6
}
END {
    end_run()
    solve(5)
    printf "# vtc-a10g: mean steps of requests; decode %.2f + %.4f a sequence + %.6f a token of context, prompts %.2f + %.5f a token, ms\n",
        x[1], x[2], x[3], x[4], x[5]
    print "run,held_out,duration_ns,n_decode,n_prefill,prefill_tokens,decode_context"
    for (i = 1; i <= m; i++)
        printf "%s,%.0f,%.0f,0,0,%.0f\n", of_run[i],
            1e6 * (ms[i] - row[i, 4] * x[4] - row[i, 5] * x[5]), row[i, 2], row[i, 3]
    for (i in prompts) {
        split(i, p, ",")
        printf "%s,%s,%.0f,0,%d,%d,0\n", p[1], p[2], 1e6 * (x[4] + x[5] * p[4]), p[3], p[4] | "sort"
    }
}
