# A panel a run with the same axes; the tenants' legend once, at the bottom.
columns = n_panels == 1 ? 1 : n_panels == 2 || n_panels == 4 ? 2 : 3
rows = (n_panels + columns - 1) / columns
low = foot(n_tenants)

# All panels with the range of the largest, so that they compare by eye.
x_max = 0
y_max = 0
do for [p = 1:n_panels] {
    stats sprintf('%s/service_%d.dat', data, p) using 1 nooutput
    x_max = STATS_max > x_max ? STATS_max : x_max
    stats sprintf('%s/service_%d.dat', data, p) using 2 nooutput
    y_max = STATS_max > y_max ? STATS_max : y_max
}
set xrange [0:(x_max > 0 ? x_max : 1)]
unit = y_max > 2e6 ? 1e6 : y_max > 2e3 ? 1e3 : 1
unit_name = unit == 1e6 ? ' (millions)' : unit == 1e3 ? ' (thousands)' : ''
set yrange [0:(y_max > 0 ? 1.05 * y_max / unit : 1)]

set multiplot title 'Service received by each tenant (weighted tokens, cumulative)' font ',17'
set title font ',13' noenhanced offset 0,-0.4
fits = 110 / columns # characters of a title
short(s) = strlen(s) > fits ? s[1:fits-3].'...' : s
set xtics autofreq
width = 0.935 / columns
gap = rows > 1 ? 0.105 : 0
height = (0.875 - low + gap) / rows
do for [p = 1:n_panels] {
    column = (p - 1) % columns
    top = 0.875 - ((p - 1) / columns) * height
    set lmargin at screen 0.075 + column * width
    set rmargin at screen 0.075 + (column + 1) * width - 0.025
    set tmargin at screen top
    set bmargin at screen top - height + gap
    set title short(value(sprintf('service_title_%d', p)))
    set xlabel (p + columns > n_panels ? 'simulated time (s)' : '')
    set ylabel (column == 0 ? 'service'.unit_name : '') offset 0.5,0
    set format y (column == 0 ? '%h' : '')
    plot for [i = 0:n_tenants-1] sprintf('%s/service_%d.dat', data, p) index i using 1:($2/unit) \
        with lines ls (i % 16) + 1 notitle
}

file = data.'/service_1.dat'
n = n_tenants
how = 'with lines ls (i % 16) + 1'
load scripts.'/legend.gp'
unset multiplot
