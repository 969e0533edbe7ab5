"""The protocol number between agent, server and command line, with its diary.

One growing integer. Each bump adds a dated line that says what changed; a message is rather added than changed.
Both sides say their number in the first message; the server refuses an agent below MIN_AGENT_PROTOCOL in words.

Diary
-----
1  2026-11-23  first: join, session, reports, assignments, logs; the API of apply, ps, stop, logs, fleet list, tokens.
2  2026-11-23  code (CheckCode, UploadCode; FetchManifest, FetchContents; AssignedReplica.code_id), users, events, metrics
               (Stats), offers, gateways, where a broken follow of logs goes on (after), how a change is made.
3  2026-11-24  GPU truth: what a GPU is (Gpu), readings (Telemetry), what is wrong (Findings, ClearFindings), refused replicas,
               shared GPUs (gpus_shared, gpu_memory_mib); WatchHosts, Drain, Undrain.
4  2026-11-24  fleets: Removed, Challenge and Recover; builds of the agent (Hello.build) and upgrades (Upgrade, UpgradeResult);
               PlanFleet, ApplyFleet, ReportRegistration, DeleteFleet, UpgradeHosts, DeleteHost. Nothing that an agent or a
               command line of protocol 3 says has changed its meaning: both keep working.
5  2026-11-27  on-demand hosts: a survey instead of an installation (Install.survey, RegistrationReport.facts and access),
               Place.wake_mac. An older command line is refused such a fleet, in words.
               Several gateways a host (Report.gateways, Assignment.gateways, GatewayRole.https_port); gateways as objects
               (PlanGateway, ApplyGateway, DeleteGateway, SetDefaultGateway, WatchGateways). An agent of protocol 4 keeps one.
               The direct way to replicas on other hosts: Report.door and reached, Assignment.door and reach; Host.paths.
               What each gateway wrote of its requests: LogRequest.access and gateway, UsageRequest, UsageBatch; the API's Usage
               and LogsRequest.access. An agent of protocol 4 is asked for neither.
               The last configuration of a gateway (discovery.proto: ADS as node HOST/NAME/keeper). An older server refuses it,
               and the agent asks again each minute; an older agent does not ask.
               Gateways on machines of their own, over SSH: PlanGatewayResponse.machines, ApplyGatewayResponse.installs,
               Install.gateway, GatewayAnswer.gone.
               How a service's requests were answered: MetricsResponse.held and answers. A gateway sends its statistics to the
               server (envoy/v1/metrics.proto); an older server refuses the stream, and Envoy asks again each second.
               Readings less often than each second in a large fleet (Welcome.telemetry_interval_s); an older agent sends each.
"""

PROTOCOL = 5
ACCESS_PROTOCOL = 5  # an older agent knows neither the access log nor usage
UPGRADE_PROTOCOL = 4  # an older agent does not know what an Upgrade is
MIN_AGENT_PROTOCOL = 1
MIN_CLI_PROTOCOL = 1
