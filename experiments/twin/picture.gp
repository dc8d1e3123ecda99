# TTFT, TPOT, queue and KV use over time: two measured runs and the simulation on the same axes.
set terminal pngcairo size 1200,1000 font "Sans,12" enhanced background "white"
set output 'picture.png'
load scripts.'/style.gp'
set datafile missing "?" # a second without arrivals breaks the line
blocks = int(system("grep -c '^\"' twin.dat"))
sides = 3 # of a slice: two measured runs, the simulation
slices = blocks / sides
unset key
array label[4] = ['TTFT, ms', 'TPOT, ms', 'requests waiting', 'KV in use, %']
set multiplot layout 4, slices columnsfirst margins 0.07, 0.98, 0.1, 0.95 spacing 0.07, 0.045
do for [c = 0:slices - 1] {
    do for [r = 1:4] {
        set ylabel label[r]
        set yrange [0:*]
        set xrange [0:*]
        set xlabel (r == 4 ? 'seconds' : '')
        name = system(sprintf("grep '^\"' twin.dat | sed -n %dp | tr -d '\"' | cut -d' ' -f1", \
            c * sides + 1))
        set title (r == 1 ? name : '')
        if (r == 4 && c == 0) {
            set key at screen 0.5, 0.02 center bottom horizontal maxcols 3
        } else { unset key }
        plot 'twin.dat' index c * sides using 1:(column(r + 1)) with linespoints ls 3 pt 7 ps 0.5 title 'measured, run 0', \
            '' index c * sides + 1 using 1:(column(r + 1)) with linespoints ls 5 pt 7 ps 0.5 title 'measured, run 1', \
            '' index c * sides + 2 using 1:(column(r + 1)) with linespoints ls 1 dt (6, 3) pt 7 ps 0.5 title 'simulated'
    }
}
unset multiplot
