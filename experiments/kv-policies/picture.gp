# Goodput against quality: a policy a colour, small marks: a fifth, large ones: half.
set terminal pngcairo size 1200,560 font "Sans,12" enhanced background "white"
set output 'picture.png'
load scripts.'/style.gp'
n = int(system("grep -c '^\"' azure.dat")) # policies
set multiplot layout 1, 2 margins 0.07, 0.84, 0.13, 0.89 spacing 0.06, 0.1
set xlabel 'log p of a token of the key, SmolLM2-135M'
set ylabel 'requests in time, per second'
set yrange [0:*]
set xrange [*:0.3]
unset key
set title 'Azure conversation, A10G'
plot for [i = 0:n - 1] 'azure.dat' index i using 1:2:(0.7 + 1.5 * $3) \
    with points ls i + 1 pt i + 4 ps variable
set key outside right top vertical noreverse noenhanced samplen 1 maxcols 1 width 0
set key at screen 0.99, graph 1
set ylabel ''
set title 'Mooncake conversation, 40 GB of an H100'
plot for [i = 0:n - 1] 'mooncake.dat' index i using 1:2:(0.7 + 1.5 * $3) \
    with points ls i + 1 pt i + 4 ps variable title columnheader(1)
unset multiplot
