# Draws one picture as PNG and SVG:
#   gnuplot -c render.gp SCRIPTS DATA OUT FIGURE
# SCRIPTS is this folder, DATA the folder with the .dat files and settings.gp that `tandem report`
# wrote, FIGURE the name of a script here, or timeline_N: OUT/FIGURE.png and OUT/FIGURE.svg.
scripts = ARG1
data = ARG2
out = ARG3
figure = ARG4

# timeline_2 is timeline.gp for the second run.
script = figure
run = 0
if (strstrt(figure, 'timeline_') == 1) {
    run = int(figure[10:])
    script = 'timeline'
}
canvas = run > 0 ? 950 : 700

load data.'/settings.gp'
do for [format in "png svg"] {
    if (format eq "png") {
        set terminal pngcairo size 1200,canvas font "Sans,13" enhanced background "white"
    } else {
        set terminal svg size 1200,canvas font "Sans,15" enhanced background "white"
    }
    set output out.'/'.figure.'.'.format
    load scripts.'/style.gp'
    load scripts.'/'.script.'.gp'
    unset output
    reset
}
