# What each policy hits, by the size of the cache; both traces.
set terminal pngcairo size 1200,560 font "Sans,12" enhanced background "white"
set output 'picture.png'
load scripts.'/style.gp'
n = int(system("grep -c '^\"' conversation.dat")) # policies
both = int(system("wc -l < synthetic.dat")) > 30
set multiplot layout 1, 2 margins 0.07, 0.86, 0.13, 0.89 spacing 0.06, 0.1
set logscale x
set xtics (1, 2, 5, 10, 20, 50, 100)
set xlabel "size of the cache, % of the trace's distinct blocks"
set ylabel 'prompt tokens found in it, %'
set yrange [0:*]
unset key
set title 'Mooncake, conversation'
plot for [i = 0:n - 1] 'conversation.dat' index i using 1:2 \
    with linespoints ls i + 1 pt i + 4 ps 1.2
set key outside right top vertical noreverse noenhanced samplen 2 maxcols 1 width 0
set key at screen 0.99, graph 1
set ylabel ''
set title (both ? 'Mooncake, synthetic' : '')
plot for [i = 0:n - 1] (both ? 'synthetic.dat' : 'conversation.dat') index i using 1:2 \
    with linespoints ls i + 1 pt i + 4 ps 1.2 title columnheader(1)
unset multiplot
