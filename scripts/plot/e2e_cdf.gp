set title 'Whole request: share of requests done within a given time'
file = 'e2e.dat'
n = n_e2e
what = 'arrival to last token'
load scripts.'/cdf.gp'
