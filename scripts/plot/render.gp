# Draws one picture as PNG and SVG:
#   gnuplot -c render.gp SCRIPTS DATA OUT FIGURE
# SCRIPTS is this folder, DATA the folder with the .dat files and settings.gp that `tandem report`
# wrote, FIGURE the name of a script here: OUT/FIGURE.png and OUT/FIGURE.svg.
scripts = ARG1
data = ARG2
out = ARG3
figure = ARG4

load data.'/settings.gp'
do for [format in "png svg"] {
    if (format eq "png") {
        set terminal pngcairo size 1200,700 font "Sans,13" enhanced background "white"
    } else {
        set terminal svg size 1200,700 font "Sans,15" enhanced background "white"
    }
    set output out.'/'.figure.'.'.format
    load scripts.'/style.gp'
    load scripts.'/'.figure.'.gp'
    unset output
    reset
}
