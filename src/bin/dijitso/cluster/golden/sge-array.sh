#!/bin/sh
# Makes the plan poisson.toml; written by dijitso VERSION.
#$ -S /bin/sh
#$ -N dijitso-poisson
#$ -V
#$ -j y
#$ -o /home/me/poisson.toml.jobs/sge-$JOB_ID.$TASK_ID.log
#$ -t 1-4

# Grid Engine does not hand on these variables of the submission.
export PATH='/opt/my gcc/bin:/usr/bin'
export LD_LIBRARY_PATH=/opt/lib
cd /home/me || exit 1
# The command takes the place of the shell, and gets the signals of the batch system itself.
exec /opt/bin/dijitso make poisson.toml -k -j "${NSLOTS:-1}" --part "$SGE_TASK_ID"/4 --status-file /home/me/poisson.toml.jobs/sge-"$JOB_ID.$SGE_TASK_ID".status
