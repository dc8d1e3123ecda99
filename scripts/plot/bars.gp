# Two bars a configuration, which lie, so that the names of the runs can be read. The caller sets
# `file`, `title_all`, title_1 and label_1 of the left half (percent), title_2, label_2 and top_2 (end
# of the axis; 0: as needed) of the right one.
set multiplot title title_all.(several_seeds ? \
    ' (bars: mean over seeds; lines: smallest to largest)' : '') font ',17'
set style fill solid 1.0 noborder
set bars 0.6
unset key
set yrange [n_runs - 0.4:-0.6]
set tmargin at screen 0.86
set bmargin at screen 0.12
set border 1
set grid x noy
set ytics scale 0 noenhanced
set title font ',13' offset 0,-0.2
half = n_runs < 4 ? 0.2 : 0.32

set lmargin at screen 0.33
set rmargin at screen 0.63
set xrange [0:100]
set title title_1
set xlabel label_1
plot data.'/'.file using 2:0:(0):2:($0-half):($0+half):(colour_of($0)):ytic(1) \
         with boxxyerror lc rgb variable, \
     for [k = 1:several_seeds] '' using 2:0:3:4 with xerrorbars lc rgb '#222222' lw 1.5 pt -1

set lmargin at screen 0.67
set rmargin at screen 0.97
if (top_2 > 0) { set xrange [0:top_2] } else { set xrange [0:1e-3<*] }
set title title_2
set xlabel label_2
set format y ''
plot data.'/'.file using 5:0:(0):5:($0-half):($0+half):(colour_of($0)) \
         with boxxyerror lc rgb variable, \
     for [k = 1:several_seeds] '' using 5:0:6:7 with xerrorbars lc rgb '#222222' lw 1.5 pt -1
unset multiplot
