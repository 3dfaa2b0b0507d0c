"""The jobs of this package, by kind; a worker looks here for what a queued job is done by."""

from collections.abc import Mapping

from crm.jobs import JobFunction
from network import backups, cgnat_plans, circuit_test, pools, shadow
from network.importing import jobs as importing
from network.provisioning import jobs as provisioning

JOBS: Mapping[str, JobFunction] = {
    importing.READ: importing.read_router,
    importing.WRITE: importing.write_batch,
    importing.UNDO: importing.undo_batch,
    circuit_test.TEST: circuit_test.run_circuit_test,
    pools.LOOK: pools.look_at_pools,
    pools.WRITE: pools.write_pools,
    shadow.LOOK: shadow.run_look,
    shadow.TAKE_OVER: shadow.run_take_over,
    shadow.GIVE_BACK: shadow.run_give_back,
    provisioning.SYNC: provisioning.sync_router,
    backups.TAKE: backups.take_backup,
    cgnat_plans.WRITE: cgnat_plans.write_rules,
    cgnat_plans.TAKE_OFF: cgnat_plans.take_off_rules,
}
