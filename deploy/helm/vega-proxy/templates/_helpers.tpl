{{- define "vega-proxy.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- define "vega-proxy.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "vega-proxy.labels" -}}
{{ include "vega-proxy.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "vega-proxy.secretName" -}}
{{ .Values.keys.existingSecret | default (printf "%s-keys" (include "vega-proxy.fullname" .)) }}
{{- end -}}

{{- define "vega-proxy.delaySeconds" -}}
{{- $own := .Values.drain.delaySeconds -}}
{{ if kindIs "invalid" $own }}{{ eq .Values.mode "sidecar" | ternary 0 10 }}{{ else }}{{ int $own }}{{ end }}
{{- end -}}

{{- define "vega-proxy.timeoutSeconds" -}}
{{- $own := .Values.drain.timeoutSeconds -}}
{{ if kindIs "invalid" $own }}{{ eq .Values.mode "sidecar" | ternary 20 90 }}{{ else }}{{ int $own }}{{ end }}
{{- end -}}

{{/* The pod's: delay, timeout, and 20 s for the last write of the log and the end of the process. */}}
{{- define "vega-proxy.gracePeriodSeconds" -}}
{{- $own := add (include "vega-proxy.delaySeconds" .) (include "vega-proxy.timeoutSeconds" .) 20 -}}
{{ eq .Values.mode "sidecar" | ternary (add $own .Values.drain.applicationSeconds) $own }}
{{- end -}}

{{/* The container, an item of a list, without what makes it a sidecar. */}}
{{- define "vega-proxy.container" -}}
- name: vega-proxy
  image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  {{- if eq .Values.mode "sidecar" }}
  # Ready before the application starts, and told to end when it has ended.
  restartPolicy: Always
  {{- end }}
  args: [serve, --config, /etc/vega-proxy/config/vega-proxy.yaml]
  env:
    - {name: VEGA_DATA_DIR, value: /data/vega-proxy}
    - {name: VEGA_ADMIN_API_KEY, value: "file:/etc/vega-proxy/keys/admin-key"}
    - {name: VEGA_METRICS_LISTEN, value: ":8082"}
    {{- if eq .Values.mode "standalone" }}
    - {name: VEGA_LISTEN, value: ":8080"}
    - {name: VEGA_CLIENT_KEYS_0, value: "file:/etc/vega-proxy/keys/client-key"}
    {{- end }}
    {{- if .Values.postgres }}
    - {name: VEGA_BATCHLOG_DATABASE, value: "file:/etc/vega-proxy/keys/database-url"}
    {{- end }}
    - {name: VEGA_SHUTDOWN_DRAIN_DELAY, value: "{{ include "vega-proxy.delaySeconds" . }}s"}
    - {name: VEGA_SHUTDOWN_DRAIN_TIMEOUT, value: "{{ include "vega-proxy.timeoutSeconds" . }}s"}
    - {name: GOMEMLIMIT, value: {{ .Values.goMemLimit | quote }}}
    - {name: VEGA_STREAM_TOTAL_BUFFER_BYTES, value: {{ .Values.totalBufferBytes | quote }}}
    - {name: VEGA_CACHE_MAX_BYTES, value: {{ .Values.cacheBytes | quote }}}
    - {name: VEGA_BATCHLOG_SPOOL_MAX_BYTES, value: {{ .Values.volume.spoolBytes | quote }}}
    - {name: VEGA_BATCHLOG_RETENTION_MAX_BYTES, value: {{ .Values.volume.retentionBytes | quote }}}
  ports:
    {{- if eq .Values.mode "standalone" }}
    - {name: http, containerPort: 8080}
    {{- end }}
    - {name: vega-metrics, containerPort: 8082}
  startupProbe:
    httpGet: {path: /readyz, port: vega-metrics}
    periodSeconds: 1
    failureThreshold: 60
  readinessProbe:
    httpGet: {path: /readyz, port: vega-metrics}
    periodSeconds: 5
  livenessProbe:
    httpGet: {path: /livez, port: vega-metrics}
    periodSeconds: 10
    timeoutSeconds: 3
    failureThreshold: 3
  resources:
    {{- toYaml .Values.resources | nindent 4 }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities: {drop: [ALL]}
    seccompProfile: {type: RuntimeDefault}
  volumeMounts:
    - {name: vega-proxy-data, mountPath: /data}
    - {name: vega-proxy-config, mountPath: /etc/vega-proxy/config, readOnly: true}
    - {name: vega-proxy-keys, mountPath: /etc/vega-proxy/keys, readOnly: true}
{{- end -}}

{{- define "vega-proxy.mounted" -}}
- name: vega-proxy-config
  configMap: {name: {{ include "vega-proxy.fullname" . }}}
- name: vega-proxy-keys
  secret: {secretName: {{ include "vega-proxy.secretName" . }}, defaultMode: {{ eq .Values.mode "sidecar" | ternary 0444 0440 }}}
{{- end -}}

{{/* For the initContainers of an application's pod. */}}
{{- define "vega-proxy.sidecar" -}}
{{- if ne .Values.mode "sidecar" }}{{ fail "vega-proxy.sidecar needs the value vega-proxy.mode: sidecar" }}{{ end -}}
{{ include "vega-proxy.container" . }}
{{- end -}}

{{/* For the volumes of an application's pod. */}}
{{- define "vega-proxy.volumes" -}}
- name: vega-proxy-data
  emptyDir: {sizeLimit: {{ .Values.volume.size }}}
{{ include "vega-proxy.mounted" . }}
{{- end -}}
