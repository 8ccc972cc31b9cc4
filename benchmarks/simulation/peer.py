"""SimFaaS on the example of its own documentation: one JSON line. Run by an interpreter that has simfaas."""

import json
import sys
import time

from simfaas.ServerlessSimulator import ServerlessSimulator

ARRIVALS_PER_S, WARM_S, COLD_S, KEEP_ALIVE_S = (float(argument) for argument in sys.argv[1:5])
SIMULATED_S, RUNS = float(sys.argv[5]), int(sys.argv[6])

runs = []
for _ in range(RUNS):
    simulator = ServerlessSimulator(
        arrival_rate=ARRIVALS_PER_S,
        warm_service_rate=1 / WARM_S,
        cold_service_rate=1 / COLD_S,
        expiration_threshold=KEEP_ALIVE_S,
        max_time=SIMULATED_S,
    )
    began_s = time.perf_counter()
    simulator.generate_trace(debug_print=False, progress=False)
    runs.append(
        {
            "took_s": time.perf_counter() - began_s,
            "requests": simulator.total_req_count,
            "cold": simulator.total_cold_count / simulator.total_req_count,
            "instances": float(simulator.get_average_server_count()),
        }
    )
print(json.dumps(runs))
