set title 'Time per output token: share of requests at or below a given time'
file = 'tpot.dat'
n = n_tpot
what = 'mean time per token after the first'
load scripts.'/cdf.gp'
