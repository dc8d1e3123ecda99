# What a router gains by hits, and loses by putting too much on one replica; and old loads.
set terminal pngcairo size 1200,560 font "Sans,12" enhanced background "white"
set output 'picture.png'
load scripts.'/style.gp'
n = int(system("grep -c '^\"' ages.dat")) # routers
set multiplot layout 1, 2 margins 0.1, 0.79, 0.12, 0.96 spacing 0.08, 0.1
set logscale y
set format y "%.0f"
set ylabel 'mean time to first token, ms'
unset key
set xlabel 'prompt tokens found in the cache, %'
set xrange [0:*]
plot for [i = 0:n - 1] 'routers.dat' every ::i::i using 2:3 with points ls i + 1 pt i + 4 ps 1.6
set xlabel 'age of the loads that a router sees, ms'
set ylabel ''
set logscale x
set xtics ('0' 1, '10' 10, '100' 100, '1000' 1000)
set xrange [0.8:1200]
set key outside right top vertical noreverse noenhanced samplen 2 maxcols 1 width 0
set key at screen 0.99, graph 1
plot for [i = 0:n - 1] 'ages.dat' index i using ($1 < 1 ? 1 : $1):2 \
    with linespoints ls i + 1 pt i + 4 ps 1.2 title columnheader(1)
unset multiplot
