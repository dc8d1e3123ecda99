# Mean normalised latency against load, and what is left of it as predictions get worse.
set terminal pngcairo size 1200,900 font "Sans,12" enhanced background "white"
set output 'picture.png'
load scripts.'/style.gp'
per = 6 # curves a workload
workloads = int(system("grep -c '^\"' curves.dat")) / per
set multiplot layout workloads, 2 margins 0.1, 0.97, 0.08, 0.97 spacing 0.1, 0.13
set style line 1 lc rgb 0x000000 lw 2.5 dt solid # fcfs
do for [w = 0:workloads - 1] {
    set key top left vertical noreverse noinvert samplen 2 maxcols 1 width 0
    set key at graph 0.02, graph 0.98
    set logscale y
    set format y "%.0f"
    set xtics auto
    set xlabel 'load, of what FCFS can serve'
    set ylabel 'mean normalised latency, ms a token'
    set title ''
    plot for [i = 0:per - 1] 'curves.dat' index w * per + i using 1:2 \
        with linespoints ls i + 1 pt 7 ps 0.6 title columnheader(1)
    set yrange [0.1:20]
    set format y "%g"
    set xrange [-0.3:6.3]
    set xlabel 'what is known about the length of an answer, at load 1.1'
    set ylabel 'mean normalised latency / that of FCFS'
    plot 1 with lines ls 1 notitle, for [i = 0:2] 'quality.dat' index w * 3 + i using 1:3:xtic(2) \
        with linespoints ls i + 4 pt 7 ps 0.8 title columnheader(1)
    set autoscale
}
unset multiplot
