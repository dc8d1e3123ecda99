# One look for all pictures. Colours: Okabe and Ito's, told apart with any colour vision; beyond
# eight curves the same colours come again, dashed.
array colour[8] = [0x0072B2, 0xD55E00, 0x009E73, 0xCC79A7, 0xE69F00, 0x56B4E9, 0x000000, 0x888888]
colour_of(i) = colour[int(i) % 8 + 1]
do for [i = 1:8] {
    set style line i lc rgb colour[i] lw 2.5 dt solid
    set style line i+8 lc rgb colour[i] lw 2.5 dt (6, 4)
}
set style line 100 lc rgb "#DDDDDD" lw 1
set border 3 lc rgb "#444444"
set tics nomirror out textcolor rgb "#222222"
set format "%h"
set grid back ls 100
set title font ",17" offset 0,0.3
set datafile missing "NaN"

# The legend lies below the axis label, two entries abreast; `foot(n)` is where the axes of a
# picture with n entries end (of the screen's height).
legend_abreast = 2
foot(n) = 0.14 + 0.03 * ((n + legend_abreast - 1) / legend_abreast)
set key at screen 0.5, screen 0.015 bottom center horizontal maxcols 2 noenhanced reverse Left \
    samplen 2.5 width 2
set lmargin at screen 0.08
set rmargin at screen 0.97
set tmargin at screen 0.915
