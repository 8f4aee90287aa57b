#!/bin/sh
# Makes the plan it's 5%.toml; written by dijitso VERSION.
#SBATCH --job-name=dijitso-it_s_5_
#SBATCH --output="/data/it's \"5%%\\/jobs/slurm-%j.log"

cd '/data/it'\''s "5%\' || exit 1
# The command takes the place of the shell, and gets the signals of the batch system itself.
exec /opt/bin/dijitso make 'it'\''s 5%.toml' -j2 --status-file '/data/it'\''s "5%\/jobs'/slurm-"$SLURM_JOB_ID".status -- '$HOME'
