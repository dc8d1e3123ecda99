# The auditor's times to the first token: what was sent before against what was not.
set terminal pngcairo size 1200,520 font "Sans,12" enhanced background "white"
set output 'picture.png'
load scripts.'/style.gp'
rows(f) = int(system('wc -l < '.f))
set multiplot layout 1, 2 margins 0.07, 0.97, 0.13, 0.89 spacing 0.06, 0.1
set logscale x
set xlabel "auditor's time to the first token, ms"
set yrange [0:100]
set xrange [10:300]
set xtics (10, 20, 50, 100, 200)
do for [isolation in 'none tenant'] {
    set title 'prefix.isolation = '.isolation
    if (isolation eq 'none') {
        set ylabel 'probes, %'
    } else {
        set ylabel ''
    }
    set key default
    set key inside bottom right noenhanced samplen 2
    plot for [what in 'sent fresh'] what.'-'.isolation.'.dat' \
        using 1:(100.0 / rows(what.'-'.isolation.'.dat')) smooth cumulative \
        with lines ls (what eq 'sent' ? 2 : 1) \
        title (what eq 'sent' ? 'the victim sent it before' : 'nobody sent it')
}
unset multiplot
