# Goodput against latency and against fairness, a mark a configuration, a colour a series of
# points.dat. Rings, if there are `fronts`: on the Pareto front of those that were given the same
# requests.
set multiplot title 'What goodput costs (mean over seeds'. \
    (fronts ? '; ring: nothing is better in both)' : ')') font ',17'
set offsets graph 0.05, graph 0.05, graph 0.05, graph 0.05
set title font ',13' offset 0,-0.2
set tmargin at screen 0.86
set bmargin at screen foot(n_series)
set ylabel 'goodput: requests per second in time'
file = data.'/points.dat'
symbol(i) = 4 + 2 * (i % 5) + 1
marks(x) = sprintf('for [i = 0:n_series-1] file index i using %d:5 with points ls i + 1 '. \
    'pt symbol(i) ps 1.4 ', x)
rings(x, on) = fronts ? sprintf(', file using ($%d == 1 ? $%d : NaN):5 with points pt 6 ps 2.6 '. \
    'lw 1.5 lc rgb "#444444" notitle', on, x) : ''

set lmargin at screen 0.08
set rmargin at screen (fairness_differs ? 0.49 : 0.97)
stats file using 8 nooutput
low = 0.8 * STATS_min
high = 1.25 * STATS_max
set xrange [low:high]
load scripts.'/ticks.gp'
set title 'Goodput and latency (better: up, left)'
set xlabel 'TTFT, 99th percentile (ms, logarithmic)'
eval 'plot '.marks(8).'notitle'.rings(8, 10)

if (fairness_differs) {
    set lmargin at screen 0.57
    set rmargin at screen 0.97
    unset logscale x
    set xtics autofreq
    set xrange [*:*]
    set title 'Goodput and fairness (better: up, right)'
    set xlabel 'Jain index of service per tenant (1: all the same)'
    set ylabel ''
    eval 'plot '.marks(9).'notitle'.rings(9, 11)
}

n = n_series
how = 'with points ls i + 1 pt symbol(i) ps 1.4'
load scripts.'/legend.gp'
unset multiplot
