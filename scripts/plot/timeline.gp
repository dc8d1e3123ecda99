# One run over time, panels with the same time axis. render.gp sets `run`.
with_steps = value(sprintf('n_timeline_%d_steps', run)) > 0
file(what) = sprintf('%s/timeline_%d_%s.dat', data, run, what)
panels = with_steps ? 4 : 3
stats file('queue') using 1 nooutput
set xrange [STATS_min:(STATS_max > STATS_min ? STATS_max : STATS_min + 1)]
set multiplot title 'One run over time: '.value(sprintf('timeline_title_%d', run)) noenhanced \
    font ',17'
unset title
set yrange [0:1<*]
set format x ''
set lmargin at screen 0.09
set key at graph 1, graph 1.02 bottom right horizontal maxrows 1 noenhanced reverse Left
top = 0.915
height = (top - 0.075) / panels
gap = 0.05
panel = 0
set tmargin at screen top
set bmargin at screen top - height + gap

set ylabel 'requests'
plot for [i = 0:1] file('queue') index i using 1:2 with steps ls i + 1 title columnheader(1)

panel = 1
set tmargin at screen top - panel * height
set bmargin at screen top - (panel + 1) * height + gap
if (with_steps) {
    set ylabel 'tokens in a step'
    set logscale y
    set yrange [0.5:*]
    plot for [i = 0:1] file('steps') index i using 1:2 with steps ls i + 3 title columnheader(1)
    unset logscale y
} else {
    set ylabel 'tokens in a step'
    plot file('batch') index 0 using 1:2 with steps ls 3 title columnheader(1)
}

panel = 2
set tmargin at screen top - panel * height
set bmargin at screen top - (panel + 1) * height + gap
if (!with_steps) {
    set format x '%h'
    set xlabel 'simulated time (s)'
}
set ylabel 'KV cache (%)'
set yrange [0:100]
plot file('kv') index 0 using 1:($2*100) with steps ls 6 title columnheader(1)

if (with_steps) {
    panel = 3
    set tmargin at screen top - panel * height
    set bmargin at screen top - (panel + 1) * height + gap
    set format x '%h'
    set xlabel 'simulated time (s)'
    set ylabel 'preemptions'
    set yrange [0:1<*]
    plot file('preempted') index 0 using 1:2 with steps ls 2 title columnheader(1)
}
unset multiplot
