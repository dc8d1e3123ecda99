# picture.gp: how far apart the clients' service is, over time.
set terminal pngcairo size 1100,480 font 'Sans,12'
set output 'picture.png'
load scripts.'/style.gp'
set xrange [0:*]
set yrange [0:*]
set xlabel 'time (s)'
set tmargin at screen 0.84
set bmargin at screen 0.3
set title noenhanced font ',13' offset 0,-0.5
set key font ',11' maxcols 2
set multiplot title 'Largest difference of two clients'' service (lines: simulated, dots: measured)' \
    font ',15'
do for [p = 1:2] {
    file = p == 1 ? 'FCFS.dat' : 'VTC.dat'
    suites = int(system("grep -c '\"' ".file))
    lines = 'for [i = 0:suites-1] file index i using 1:($2/1e3) with lines ls i+1 title columnheader(1)'
    dots = 'for [i = 0:suites-1] file index i using 1:($3/1e3) every 4 with points pt 7 ps 0.6 '. \
        'lc rgb colour_of(i) notitle'
    measured = int(system('grep -c NaN '.file.' || true')) == 0
    set lmargin at screen (p == 1 ? 0.07 : 0.57)
    set rmargin at screen (p == 1 ? 0.48 : 0.98)
    set key at screen (p == 1 ? 0.28 : 0.78), screen 0.02
    set title p == 1 ? 'FCFS' : 'VTC (its bound is 40)'
    set ylabel p == 1 ? 'service (thousands)' : ''
    eval 'plot '.lines.(measured ? ', '.dots : '')
}
unset multiplot
