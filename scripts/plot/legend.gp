# The legend alone, over the whole width: for pictures of several panels. The caller sets `file`, `n`
# and `how` curves are drawn; they lie outside the ranges.
set lmargin at screen 0.08
set rmargin at screen 0.97
unset logscale
set xrange [0:1]
set yrange [0:1]
unset title
unset xlabel
unset ylabel
unset border
unset tics
unset grid
eval 'plot for [i = 0:n-1] file index i using (-1):(-1) '.how.' title columnheader(1)'
