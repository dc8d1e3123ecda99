# A logarithmic x axis from `low` to `high`. Ticks beside the powers of ten: a narrow range may hold
# none of those.
set logscale x
set xtics ()
ticks = high < 30 * low ? "1 1.5 2 3 4 5 6 8" : "1 2 5"
do for [k = -6:9] {
    do for [m in ticks] {
        tick = m * 10.0 ** k
        if (tick >= low * 0.999 && tick <= high * 1.001) {
            set xtics add (sprintf('%.10g', tick) tick)
        }
    }
}
