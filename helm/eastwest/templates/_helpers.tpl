{{- define "eastwest.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "eastwest.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "eastwest.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "eastwest.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "eastwest.selector" -}}
app.kubernetes.io/name: {{ include "eastwest.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "eastwest.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "eastwest.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "eastwest.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "eastwest.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "eastwest.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "eastwest.port" -}}
{{- dig "http" "port" 9108 .Values.config | int -}}
{{- end -}}

{{/* Files of the ConfigMap: the settings with what the chart knows better, and what they name. */}}
{{- define "eastwest.files" -}}
{{- $ours := dict
  "http" (dict "host" "0.0.0.0")
  "state" (dict "url" "/var/lib/eastwest/state")
  "outbox" (dict "folder" "/var/lib/eastwest/outbox") -}}
{{- if .Values.plant }}{{ $_ := set $ours "plant" "/etc/eastwest/plant.yaml" }}{{ end -}}
{{- if .Values.decisions }}{{ $_ := set $ours "decisions" "/etc/eastwest/decisions.yaml" }}{{ end -}}
eastwest.yaml: |
{{ mergeOverwrite $ours (deepCopy .Values.config) | toYaml | indent 2 }}
{{- with .Values.plant }}
plant.yaml: {{ . | quote }}
{{- end }}
{{- with .Values.decisions }}
decisions.yaml: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* Settings name files of secrets; each must be of a secret that is mounted. */}}
{{- define "eastwest.checkSecrets" -}}
{{- $known := keys .Values.secrets -}}
{{- range regexFindAll "/etc/eastwest-secrets/[^/\"]+" (toJson .Values.config) -1 -}}
{{- $name := trimPrefix "/etc/eastwest-secrets/" . -}}
{{- if not (has $name $known) -}}
{{- fail (printf "config names a file below %s, but secrets.%s is not there: add it, with existingSecret" . $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The pod of a component: dict root, component, values, env (list), data (a volume) or nothing. */}}
{{- define "eastwest.pod" -}}
{{- $ := .root -}}
{{- $component := .component -}}
{{- $mounts := include "eastwest.mounts" . -}}
metadata:
  labels:
    {{- include "eastwest.labels" $ | nindent 4 }}
    app.kubernetes.io/component: {{ $component }}
    {{- with .values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # Other settings are other pods.
    checksum/config: {{ include "eastwest.files" $ | sha256sum }}
    kubectl.kubernetes.io/default-container: eastwest
    {{- with .values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "eastwest.serviceAccount" $ }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ $.Values.terminationGracePeriodSeconds }}
  {{- with $.Values.imagePullSecrets }}
  imagePullSecrets: {{ toYaml . | nindent 4 }}
  {{- end }}
  securityContext: {{ toYaml $.Values.podSecurityContext | nindent 4 }}
  {{- if $.Values.checkConfig }}
  initContainers:
    - name: check-config
      image: {{ include "eastwest.image" $ }}
      imagePullPolicy: {{ $.Values.image.pullPolicy }}
      args: [config, check, /etc/eastwest/eastwest.yaml]
      {{- include "eastwest.env" . | nindent 6 }}
      securityContext: {{ toYaml $.Values.securityContext | nindent 8 }}
      resources: {{ toYaml .values.resources | nindent 8 }}
      volumeMounts: {{ $mounts | nindent 8 }}
  {{- end }}
  containers:
    - name: eastwest
      image: {{ include "eastwest.image" $ }}
      imagePullPolicy: {{ $.Values.image.pullPolicy }}
      args: [run, --config, /etc/eastwest/eastwest.yaml]
      {{- include "eastwest.env" . | nindent 6 }}
      ports:
        - {name: http, containerPort: {{ include "eastwest.port" $ }}, protocol: TCP}
      startupProbe:
        httpGet: {path: /livez, port: http}
        {{- toYaml $.Values.probes.startup | nindent 8 }}
      livenessProbe:
        httpGet: {path: /livez, port: http}
        {{- toYaml $.Values.probes.liveness | nindent 8 }}
      readinessProbe:
        httpGet: {path: /readyz, port: http}
        {{- toYaml $.Values.probes.readiness | nindent 8 }}
      securityContext: {{ toYaml $.Values.securityContext | nindent 8 }}
      resources: {{ toYaml .values.resources | nindent 8 }}
      volumeMounts: {{ $mounts | nindent 8 }}
    {{- with $.Values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    - name: config
      configMap: {name: {{ include "eastwest.fullname" $ }}}
    - name: tmp
      emptyDir: {sizeLimit: 64Mi}
    {{- range $name, $secret := $.Values.secrets }}
    - name: secret-{{ $name }}
      secret: {secretName: {{ $secret.existingSecret }}, defaultMode: 0440}
    {{- end }}
    {{- with .data }}
    - name: data
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with $.Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .values.nodeSelector }}
  nodeSelector: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.tolerations }}
  tolerations: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.affinity }}
  affinity: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- range . }}
    - {{- toYaml . | nindent 6 }}
      {{- if not .labelSelector }}
      labelSelector:
        matchLabels:
          {{- include "eastwest.selector" $ | nindent 10 }}
          app.kubernetes.io/component: {{ $component }}
      {{- end }}
    {{- end }}
  {{- end }}
{{- end -}}

{{- define "eastwest.env" -}}
env:
  {{- toYaml .env | nindent 2 }}
  {{- with .root.Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .root.Values.envFrom }}
envFrom: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "eastwest.mounts" -}}
- {name: config, mountPath: /etc/eastwest, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- range $name, $_ := .root.Values.secrets }}
- {name: secret-{{ $name }}, mountPath: /etc/eastwest-secrets/{{ $name }}, readOnly: true}
{{- end }}
- {name: data, mountPath: /var/lib/eastwest}
{{- with .root.Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}
