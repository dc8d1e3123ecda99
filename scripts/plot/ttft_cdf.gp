set title 'Time to first token: share of requests served within a given time'
file = 'ttft.dat'
n = n_ttft
what = 'arrival to first token'
load scripts.'/cdf.gp'
