"""Writes the dashboards below charts/stack/files/dashboards, or checks that they are up to date.

    generate.py [--check]

The panels are built with Grafana's Foundation SDK, whose types are those of Grafana's schema.
`make observability/dashboards` installs it and runs this file.
"""

import json
import pathlib
import sys

from grafana_foundation_sdk.builders import bargauge, dashboard, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders.common import (
    GraphThresholdsStyleConfig,
    ReduceDataOptions,
    VizLegendOptions,
    VizTooltipOptions,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueGraphMode,
    DataSourceRef,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

ROOT = pathlib.Path(__file__).resolve().parents[3]
FOLDER = ROOT / "charts/stack/files/dashboards"

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
# Probes and scrapes are no traffic.
TRAFFIC = 'http_route!~"/healthz|/readyz|/metrics"'
COUNT = "http_server_request_duration_seconds_count"
BUCKET = "http_server_request_duration_seconds_bucket"
RANGE = "[$__rate_interval]"

# In seconds; the rules alert on the same.
THRESHOLDS = {
    "backend-api": 2.5,
    "data-api": 0.25,
    "multivac": 2.5,
    "randomize": 0.5,
    "sre-kata": 0.1,
    "stakefish": 2.5,
}


def query(expr, legend):
    return prometheus.Dataquery().datasource(SOURCE).expr(expr).legend_format(legend).range()


def traces(job):
    """A link from a series to the traces of its service in the time that is shown."""
    url = f"${{traces}}/search?service={job}&start=${{__from}}000&end=${{__to}}000"
    return dashboard.DashboardLink("Traces").type(DashboardLinkType.LINK).url(url).target_blank(True)


def logs(job):
    url = f"${{logs}}#service={job}&from=${{__from}}&to=${{__to}}"
    return dashboard.DashboardLink("Logs").type(DashboardLinkType.LINK).url(url).target_blank(True)


def graph(title, description, unit, *queries, job, span=12, stacked_to_one=False, threshold=None):
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .span(span)
        .height(8)
        .fill_opacity(8)
        .legend(
            VizLegendOptions()
            .display_mode(LegendDisplayMode.TABLE)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull", "max"])
        )
        .tooltip(VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
        .data_links([traces(job), logs(job)])
    )
    if stacked_to_one:
        panel = panel.max(1)
    if threshold is not None:
        panel = panel.thresholds(
            dashboard.ThresholdsConfig()
            .mode(ThresholdsMode.ABSOLUTE)
            .steps([Threshold(value=None, color="green"), Threshold(value=threshold, color="red")])
        ).thresholds_style(GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED))
    for expr, legend in queries:
        panel = panel.with_target(query(expr, legend))
    return panel


def number(title, description, unit, expr, legend, steps, job, span=12):
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .span(span)
        .height(5)
        .graph_mode(BigValueGraphMode.NONE)
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(
            dashboard.ThresholdsConfig()
            .mode(ThresholdsMode.ABSOLUTE)
            .steps([Threshold(value=value, color=color) for value, color in steps])
        )
        .data_links([traces(job), logs(job)])
        .with_target(query(expr, legend))
    )


def variable(name, label, values, multi):
    built = (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(values)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )
    if multi:
        built = built.multi(True).include_all(True).current(VariableOption(text="All", value="$__all"))
    return built


def text_variable(name, label, default, description):
    option = VariableOption(selected=True, text=default, value=default)
    return dashboard.TextBoxVariable(name).label(label).description(description).default_value(default).current(option)


def board(uid, title, description, selector, jobs):
    """Without panels. `jobs`: whether the services are chosen on the page."""
    built = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["services"])
        .refresh("30s")
        .time("now-3h", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .editable()
        .link(
            dashboard.DashboardLink("Services")
            .type(DashboardLinkType.DASHBOARDS)
            .tags(["services"])
            .as_dropdown(True)
            .keep_time(True)
            .include_vars(True)
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(variable("namespace", "Namespace", 'label_values(build_info{service!=""}, namespace)', False))
    )
    if jobs:
        values = 'label_values(build_info{namespace="$namespace", service!=""}, job)'
        built = built.with_variable(variable("job", "Service", values, True))
    values = f"label_values(build_info{{{selector}}}, instance)"
    return (
        built.with_variable(variable("instance", "Instance", values, True))
        .with_variable(
            text_variable("traces", "Traces", "http://127.0.0.1:16686", "The base URL of the trace store, such as Jaeger")
        )
        .with_variable(
            text_variable(
                "logs",
                "Logs",
                "http://127.0.0.1:3003/docs/logging.html",
                "The URL of the log store's search; service, from and to are appended",
            )
        )
        .annotation(
            annotation("Starts", "blue", f"changes(process_start_time_seconds{{{selector}}}[2m]) > 0", "{{job}} started")
        )
        .annotation(
            annotation(
                "Versions",
                "purple",
                f"count by (job, version, revision) (build_info{{{selector}}})"
                f" unless count by (job, version, revision) (build_info{{{selector}}} offset 5m)",
                "{{job}} {{version}} ({{revision}})",
            )
        )
        .annotation(
            annotation("Alerts", "red", f'ALERTS{{{selector}, alertstate="firing"}}', "{{alertname}} {{job}}")
        )
    )


def annotation(name, color, expr, title):
    built = dashboard.AnnotationQuery().name(name).datasource(SOURCE).enable(True).icon_color(color).expr(expr)
    return TitledAnnotation(built, title)


class TitledAnnotation:
    """An annotation of Prometheus: how its title is made is not part of the SDK's type."""

    def __init__(self, built, title):
        self.built, self.title = built, title

    def build(self):
        model, title = self.built.build(), self.title

        class Titled(type(model)):
            def to_json(self):
                return super().to_json() | {"titleFormat": title}

        model.__class__ = Titled
        return model


def quantile(share, metric, selector, by=""):
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket{{{selector}}}{RANGE})))"


def rate(metric, selector, by=""):
    total = f"sum by ({by})" if by else "sum"
    return f"{total} (rate({metric}{{{selector}}}{RANGE}))"


def budget_left(slow):
    """The share of a 30 days' budget that is left, by service."""
    everything = f'{COUNT}{{namespace="$namespace", job=~"$job", {TRAFFIC}}}[30d]'
    total = f"sum by (job) (increase({everything}))"
    if not slow:
        bad = f'sum by (job) (increase({COUNT}{{namespace="$namespace", job=~"$job", {TRAFFIC}, http_response_status_code=~"5.."}}[30d]))'
        return f"1 - ({bad} or 0 * {total}) / {total} / 0.001"
    good = " or ".join(
        f'sum by (job) (increase({BUCKET}{{namespace="$namespace", job="{job}", le="{seconds}", {TRAFFIC}}}[30d]))'
        for job, seconds in THRESHOLDS.items()
    )
    return f"1 - (1 - ({good}) / {total}) / 0.01"


def stack():
    selector = 'namespace="$namespace", job=~"$job"'
    one = f'{selector}, instance=~"$instance"'
    job = "${__field.labels.job}"
    budget_steps = [(None, "red"), (0, "orange"), (0.25, "green")]
    return (
        board("stack", "Stack", "Rate, errors, duration and saturation of every service", selector, True)
        .with_row(dashboard.Row("Objectives"))
        .with_panel(
            number("Error budget left", "Of 30 days: 0.1 % of the requests may be answered with a 5xx", "percentunit",
                   budget_left(False), "{{job}}", budget_steps, job)
        )
        .with_panel(
            number("Latency budget left", "Of 30 days: 1 % of the requests may take longer than the service's threshold",
                   "percentunit", budget_left(True), "{{job}}", budget_steps, job)
        )
        .with_panel(
            graph("Burn rate of the error budget", "1 uses the budget up in exactly 30 days; above 14.4 somebody is paged",
                  "none", (f"job:http_request_error_ratio:rate1h{{{selector}}} / 0.001", "{{job}}"), job=job, threshold=14.4)
        )
        .with_panel(
            graph("Burn rate of the latency budget", "1 uses the budget up in exactly 30 days; above 14.4 somebody is paged",
                  "none", (f"job:http_request_slow_ratio:rate1h{{{selector}}} / 0.01", "{{job}}"), job=job, threshold=14.4)
        )
        .with_row(dashboard.Row("Requests"))
        .with_panel(
            graph("Request rate", "Without probes and scrapes", "reqps",
                  (rate(COUNT, f"{one}, {TRAFFIC}", "job"), "{{job}}"), job=job)
        )
        .with_panel(
            graph("Error ratio", "Requests answered with a 5xx", "percentunit",
                  (f"job:http_request_error_ratio:rate5m{{{selector}}}", "{{job}}"), job=job)
        )
        .with_panel(
            graph("Latency, 99th percentile", "To the last byte of the answer", "s",
                  (quantile(0.99, "http_server_request_duration_seconds", f"{one}, {TRAFFIC}", "job"), "{{job}}"), job=job)
        )
        .with_panel(
            graph("Latency, median", "To the last byte of the answer", "s",
                  (quantile(0.5, "http_server_request_duration_seconds", f"{one}, {TRAFFIC}", "job"), "{{job}}"), job=job)
        )
        .with_row(dashboard.Row("Saturation"))
        .with_panel(
            graph("CPU", "Cores in use", "none",
                  (rate("process_cpu_seconds_total", one, "job, instance"), "{{job}} {{instance}}"), job=job, span=8)
        )
        .with_panel(
            graph("Memory", "Resident", "bytes",
                  (f"sum by (job, instance) (process_resident_memory_bytes{{{one}}})", "{{job}} {{instance}}"), job=job, span=8)
        )
        .with_panel(
            graph("Memory budget in use", "Of what clients can make an instance hold", "percentunit",
                  (f"sum by (job, instance) (memory_budget_used_bytes{{{one}}})"
                   f" / sum by (job, instance) (memory_budget_limit_bytes{{{one}}})", "{{job}} {{instance}}"),
                  job=job, span=8, stacked_to_one=True)
        )
        .with_panel(
            graph("Requests in flight, open connections", "", "none",
                  (f"sum by (job) (http_server_active_requests{{{one}}})", "{{job}} in flight"),
                  (f"sum by (job) (http_server_open_connections{{{one}}})", "{{job}} connections"), job=job, span=8)
        )
        .with_panel(
            graph("File descriptors in use", "Of those that may be open", "percentunit",
                  (f"max by (job, instance) (process_open_fds{{{one}}} / process_max_fds{{{one}}})", "{{job}} {{instance}}"),
                  job=job, span=8, stacked_to_one=True)
        )
        .with_panel(
            graph("Refused", "Connections by limit, and what did not fit into the memory budget", "ops",
                  (rate("connections_refused_total", one, "job, reason"), "{{job}} connection: {{reason}}"),
                  (rate("memory_budget_refused_total", one, "job, kind"), "{{job}} memory: {{kind}}"), job=job, span=8)
        )
        .with_row(dashboard.Row("State"))
        .with_panel(
            statetimeline.Panel()
            .title("Readiness checks")
            .description("1 passes, 0 fails; draining is there while an instance stops")
            .datasource(SOURCE)
            .span(12)
            .height(8)
            .data_links([traces(job), logs(job)])
            .with_target(query(f"min by (job, instance, check) (readiness_check_ok{{{one}}})", "{{job}} {{instance}} {{check}}"))
        )
        .with_panel(
            table.Panel()
            .title("Versions")
            .description("What is running")
            .datasource(SOURCE)
            .span(12)
            .height(8)
            .data_links([traces(job), logs(job)])
            .with_target(
                query(f"count by (job, version, revision) (build_info{{{one}}})", "").instant().format(PromQueryFormat.TABLE)
            )
        )
        .with_panel(
            graph("Panics and lost log lines", "", "short",
                  (f"sum by (job) (increase(http_server_panics_total{{{one}}}{RANGE}))", "{{job}} panics"),
                  (f"sum by (job) (increase(log_lines_dropped_total{{{one}}}{RANGE}))", "{{job}} lines"), job=job)
        )
        .with_panel(
            graph("Certificates: days left", "Of services that serve HTTPS themselves", "d",
                  (f"(tls_certificate_expiry_timestamp_seconds{{{one}}} - time()) / 86400", "{{job}} {{instance}}"), job=job)
        )
    )


def service(name, description, sections):
    base = f'namespace="$namespace", job="{name}"'
    one = f'{base}, instance=~"$instance"'
    traffic = f"{one}, {TRAFFIC}"
    total = rate(COUNT, traffic)
    failed = rate(COUNT, f'{traffic}, http_response_status_code=~"5.."')
    built = (
        board(name, name, description, base, False)
        .with_row(dashboard.Row("Requests"))
        .with_panel(graph("Request rate", "By route", "reqps", (rate(COUNT, traffic, "http_route"), "{{http_route}}"), job=name, span=8))
        .with_panel(
            graph("Answers", "By status and route; 499 is a client that went away", "reqps",
                  (rate(COUNT, traffic, "http_response_status_code, http_route"),
                   "{{http_response_status_code}} {{http_route}}"), job=name, span=8)
        )
        .with_panel(
            graph("Error ratio", "Requests answered with a 5xx", "percentunit",
                  (f"({failed} or 0 * {total}) / {total}", "5xx"), job=name, span=8)
        )
        .with_panel(
            graph("Latency, 99th percentile", "By route; the line is the objective for 99 % of all requests", "s",
                  (quantile(0.99, "http_server_request_duration_seconds", traffic, "http_route"), "{{http_route}}"),
                  job=name, span=8, threshold=THRESHOLDS[name])
        )
        .with_panel(
            graph("CPU time a request", "", "s",
                  (f"{rate('process_cpu_seconds_total', one)} / {total}", name), job=name, span=8)
        )
        .with_panel(
            graph("In flight, connections", "", "none",
                  (f"sum(http_server_active_requests{{{one}}})", "in flight"),
                  (f"sum(http_server_open_connections{{{one}}})", "connections"), job=name, span=8)
        )
    )
    for title, panels in sections:
        built = built.with_row(dashboard.Row(title))
        for panel in panels(one):
            built = built.with_panel(panel(name))
    return built


def own(title, description, unit, *queries):
    return lambda job: graph(title, description, unit, *queries, job=job, span=8)


def database(one):
    duration = "db_client_operation_duration_seconds"
    return [
        own("Operations", "By name; a batch is one", "ops", (rate(f"{duration}_count", one, "operation"), "{{operation}}")),
        own("Operation duration, 99th percentile", "With the wait for a connection", "s",
            (quantile(0.99, duration, one, "operation"), "{{operation}}")),
        own("Wait for a connection, 99th percentile", "", "s",
            (quantile(0.99, "db_client_connection_wait_time_seconds", one), "wait")),
        own("Connections of the pool", "", "none", (f"sum by (state) (db_client_connections{{{one}}})", "{{state}}")),
        own("Rows in a batch", "The mean of what was committed together", "none",
            (f"{rate('db_client_batch_size_sum', one)} / {rate('db_client_batch_size_count', one)}", "rows")),
        own("Rows lost", "Rows that nobody waited for and the database did not take", "short",
            (f"sum(increase(db_client_rows_lost_total{{{one}}}{RANGE}))", "rows")),
    ]


def external(one):
    duration = "backend_api_external_request_duration_seconds"
    return [
        own("Calls", "By how they ended, retries included", "ops",
            (rate("backend_api_external_requests_total", one, "outcome"), "{{outcome}}")),
        own("Duration", "Until the answer began or was given up", "s",
            (quantile(0.5, duration, one), "median"), (quantile(0.99, duration, one), "99th percentile")),
        own("Retries", "Attempts after the first", "ops", (rate("backend_api_external_retries_total", one), "retries")),
        own("Throughput", "Bytes of answers that were handed through", "Bps",
            (rate("backend_api_external_response_bytes_total", one), "bytes")),
    ]


def log_files(one):
    duration = "data_api_write_duration_seconds"
    claim = 'namespace="$namespace", persistentvolumeclaim=~".*data-api.*"'
    return [
        own("Files", "Files there are", "none", (f"sum by (instance) (data_api_log_files_held{{{one}}})", "{{instance}}")),
        own("Writes", "Files that are durable, and that were not written", "ops",
            (rate("data_api_log_files_written_total", one), "written"),
            (rate("data_api_log_file_write_failures_total", one), "failed"),
            (rate("data_api_log_files_removed_total", one), "removed by retention")),
        own("Sync duration", "Until a batch was durable", "s",
            (quantile(0.5, duration, one), "median"), (quantile(0.99, duration, one), "99th percentile")),
        own("Files in a batch", "The mean of those that share their syncs", "none",
            (f"{rate('data_api_write_batch_files_sum', one)} / {rate('data_api_write_batch_files_count', one)}", "files")),
        own("Volume in use", "Of the kubelet", "percentunit",
            (f"1 - kubelet_volume_stats_available_bytes{{{claim}}} / kubelet_volume_stats_capacity_bytes{{{claim}}}",
             "{{persistentvolumeclaim}}")),
    ]


def queue(one):
    stored = "multivac_job_storage_duration_seconds"
    return [
        own("Queue", "Jobs that wait", "none", (f"max(multivac_queue_length{{{one}}})", "jobs")),
        own("Age of the oldest job", "", "s", (f"max(multivac_queue_oldest_age_seconds{{{one}}})", "age")),
        own("Dead letters", "Jobs that the store refused too often", "none",
            (f"max(multivac_queue_dead_letters{{{one}}})", "dead letters")),
        own("Jobs", "", "ops", *[(rate(f"multivac_jobs_{what}_total", one), what)
                                 for what in ("accepted", "stored", "repeated", "refused", "dead")]),
        own("Time to storage", "From acceptance to storage", "s",
            (quantile(0.5, stored, one), "median"), (quantile(0.99, stored, one), "99th percentile")),
    ]


def words(one):
    return [
        own("Words", "Jumbled and kept", "ops", (rate("randomize_words_total", one), "words")),
        own("Requests without an audit row", "Because the database failed", "short",
            (f"sum(increase(randomize_requests_unaudited_total{{{one}}}{RANGE}))", "requests")),
        own("Audit rows expired", "Removed after AUDIT_RETENTION", "ops",
            (rate("randomize_audit_rows_expired_total", one), "rows")),
    ]


def lookups(one):
    duration, hits = "stakefish_dns_duration_seconds", rate("stakefish_dns_cache_hits_total", one)

    def most_asked(job):
        return (
            bargauge.Panel()
            .title("Names asked most")
            .description("Saved lookups over restarts and replicas")
            .datasource(SOURCE)
            .span(8)
            .height(8)
            .data_links([traces(job), logs(job)])
            .with_target(query(f"topk(10, max by (domain) (queries_total{{{one}}}))", "{{domain}}").instant())
        )

    return [
        own("Lookups", "By outcome", "ops", (rate("stakefish_lookups_total", one, "outcome"), "{{outcome}}")),
        own("Cache hit ratio", "Lookups that asked no resolver", "percentunit",
            (f"{hits} / ({hits} + {rate(f'{duration}_count', one)})", "hits")),
        own("Duration of DNS", "Until the resolvers answered or were given up", "s",
            (quantile(0.5, duration, one), "median"), (quantile(0.99, duration, one), "99th percentile")),
        most_asked,
        own("Addresses saved", "By domain", "none",
            (f"topk(10, max by (domain) (stakefish_addresses_saved_total{{{one}}}))", "{{domain}}")),
    ]


def dashboards():
    rows = ("Database", database)
    yield stack()
    yield service("backend-api", "Operations, and the external service behind them", [("External service", external)])
    yield service("data-api", "Log files and their volume", [("Log files", log_files)])
    yield service("multivac", "The queue and its jobs", [("Jobs", queue), rows])
    yield service("randomize", "Words, audit trail and database", [("Words", words), rows])
    yield service("sre-kata", "Counting of repeated characters", [])
    yield service("stakefish", "Lookups of names, and the history of them", [("Lookups", lookups), rows])


def main():
    check = "--check" in sys.argv[1:]
    written = {}
    for built in dashboards():
        model = built.build()
        document = json.loads(JSONEncoder().encode(model))
        for number_of_panel, panel in enumerate(document["panels"], start=1):
            panel["id"] = number_of_panel
            # The type of a dashboard's links has more members than a panel's have a meaning for.
            defaults = panel.get("fieldConfig", {}).get("defaults", {})
            if "links" in defaults:
                defaults["links"] = [{key: link[key] for key in ("title", "url", "targetBlank")} for link in defaults["links"]]
        # All of them are in one ConfigMap, of which `kubectl apply` keeps a copy of 256 KiB at most.
        text = json.dumps(document, indent=1, sort_keys=True)
        written[FOLDER / f"{model.uid}.json"] = text + "\n"
    outdated = [path for path, text in written.items() if not path.exists() or path.read_text() != text]
    outdated += [path for path in FOLDER.glob("*.json") if path not in written]
    if check:
        if outdated:
            names = ", ".join(str(path.relative_to(ROOT)) for path in outdated)
            sys.exit(f"out of date: {names}; run `make observability/dashboards` and commit")
        return
    for path in outdated:
        if path in written:
            path.write_text(written[path])
        else:
            path.unlink()
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
