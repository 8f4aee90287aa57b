#!/bin/sh
# Makes the plan it's 5%.toml; written by dijitso VERSION.
#$ -S /bin/sh
#$ -N dijitso-it_s_5_
#$ -V
#$ -j y
#$ -o /dev/null

cd '/data/it'\''s "5%\' || exit 1
# The command takes the place of the shell, and gets the signals of the batch system itself.
exec /opt/bin/dijitso make 'it'\''s 5%.toml' -j2 --status-file '/data/it'\''s "5%\/jobs'/sge-"$JOB_ID".status -- '$HOME' > '/data/it'\''s "5%\/jobs'/sge-"$JOB_ID".log 2>&1
