set title 'Whole requests: 300 ShareGPT requests, measured on an RTX PRO 6000 and simulated'
file = 'truth_e2e.dat'
n = 2
what = 'arrival to last token'
load scripts.'/cdf.gp'
