set title 'Time to first token: 300 ShareGPT requests, measured on an RTX PRO 6000 and simulated'
file = 'truth_ttft.dat'
n = 2
what = 'arrival to first token'
load scripts.'/cdf.gp'
