// Asks Tekton's own code: would its webhook take these objects, and how would its controller end this run?
//
// Usage: ENGINE_ORDER=order.json ENGINE_ANSWER=answer.json tekton-engine
//
// A test's program, because Tekton's fake clients want a testing.T. What it proves is in the answer; that it ends well
// says only that there is one.
package tekton

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"sort"
	"testing"
	"time"

	"github.com/tektoncd/pipeline/pkg/apis/pipeline"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	_ "github.com/tektoncd/pipeline/pkg/pipelinerunmetrics/fake"
	"github.com/tektoncd/pipeline/pkg/reconciler/pipelinerun"
	th "github.com/tektoncd/pipeline/pkg/reconciler/testing"
	_ "github.com/tektoncd/pipeline/pkg/taskrunmetrics/fake"
	"github.com/tektoncd/pipeline/test"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"knative.dev/pkg/apis"
	cminformer "knative.dev/pkg/configmap/informer"
	"knative.dev/pkg/reconciler"
	"knative.dev/pkg/system"
	_ "knative.dev/pkg/system/testing"
	"sigs.k8s.io/yaml"
)

const mostRounds = 200

type order struct {
	// Objects are Tasks, Pipelines and PipelineRuns, each the JSON of one.
	Objects []json.RawMessage `json:"objects"`
	// Scenarios are runs to play; each names one of the objects, a PipelineRun.
	Scenarios []scenario `json:"scenarios"`
}

type scenario struct {
	Run   string `json:"run"`
	Rules []rule `json:"rules"`
}

// rule says how TaskRuns of a pipeline's task end; the first that fits counts, and without one they end well.
type rule struct {
	Task    string            `json:"task"`
	Params  map[string]string `json:"params"`
	Fails   bool              `json:"fails"`
	Results map[string]any    `json:"results"`
}

type answer struct {
	Problems  []problem `json:"problems"`
	Scenarios []played  `json:"scenarios"`
}

type problem struct {
	Object  string `json:"object"`
	Problem string `json:"problem"`
}

type played struct {
	Status  string            `json:"status"`
	Reason  string            `json:"reason"`
	Message string            `json:"message"`
	Tasks   []taskPlayed      `json:"tasks"`
	Skipped map[string]string `json:"skipped"`
	Results map[string]string `json:"results"`
	// Size is how many bytes of JSON the PipelineRun had when it had most.
	Size int `json:"size"`
}

type taskPlayed struct {
	Name     string            `json:"name"`
	Task     string            `json:"task"`
	Params   map[string]string `json:"params"`
	Failed   bool              `json:"failed"`
	Selector map[string]string `json:"nodeSelector"`
	Account  string            `json:"account"`
}

type checked interface {
	metav1.Object
	SetDefaults(ctx context.Context)
	Validate(ctx context.Context) *apis.FieldError
}

func TestEngine(t *testing.T) {
	if os.Getenv("ENGINE_ORDER") == "" {
		t.Skip("ENGINE_ORDER names no file")
	}
	content, err := os.ReadFile(os.Getenv("ENGINE_ORDER"))
	must(t, err)
	var asked order
	must(t, json.Unmarshal(content, &asked))
	given := answer{Problems: []problem{}, Scenarios: []played{}}
	var data test.Data
	for number, text := range asked.Objects {
		name, err := take(text, &data)
		if err != nil {
			given.Problems = append(given.Problems, problem{Object: fmt.Sprintf("%d %s", number, name), Problem: err.Error()})
		}
	}
	for _, one := range asked.Scenarios {
		given.Scenarios = append(given.Scenarios, play(t, data, one))
	}
	written, err := json.Marshal(given)
	must(t, err)
	must(t, os.WriteFile(os.Getenv("ENGINE_ANSWER"), written, 0o600))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// take reads an object strictly, and asks what admission asks: unknown fields are mistakes, which a cluster would drop.
func take(text json.RawMessage, data *test.Data) (string, error) {
	var meta metav1.TypeMeta
	if err := json.Unmarshal(text, &meta); err != nil {
		return "", err
	}
	var object checked
	switch meta.Kind {
	case "Task":
		task := &v1.Task{}
		data.Tasks, object = append(data.Tasks, task), task
	case "Pipeline":
		found := &v1.Pipeline{}
		data.Pipelines, object = append(data.Pipelines, found), found
	case "PipelineRun":
		run := &v1.PipelineRun{}
		data.PipelineRuns, object = append(data.PipelineRuns, run), run
	default:
		return meta.Kind, fmt.Errorf("no kind of Tekton's: %q", meta.Kind)
	}
	if err := yaml.UnmarshalStrict(text, object); err != nil {
		return meta.Kind, err
	}
	if object.GetName() == "" {
		object.SetName(object.GetGenerateName() + "abcde")
	}
	name := meta.Kind + "/" + object.GetName()
	// Defaults come first, as in the webhook: timeouts that nobody wrote are judged with those that somebody did.
	object.SetDefaults(context.Background())
	if problem := object.Validate(context.Background()); problem != nil {
		return name, problem
	}
	return name, nil
}

// play runs the controller over fake clients until the run is done: pods are played by the rules.
func play(t *testing.T, data test.Data, one scenario) played {
	t.Helper()
	ctx, _ := th.SetupFakeContext(t)
	ctx = withCloudEvents(ctx)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var run *v1.PipelineRun
	for _, candidate := range data.PipelineRuns {
		if candidate.Name == one.Run {
			run = candidate.DeepCopy()
		}
	}
	if run == nil {
		t.Fatalf("there is no PipelineRun %q", one.Run)
	}
	seeded := test.Data{Tasks: data.Tasks, Pipelines: data.Pipelines, PipelineRuns: []*v1.PipelineRun{run}}
	test.EnsureConfigurationConfigMapsExist(&seeded)
	clients, _ := test.SeedTestData(t, ctx, seeded)
	watcher := cminformer.NewInformedWatcher(clients.Kube, system.Namespace())
	images := pipeline.Images{EntrypointImage: "entrypoint:test", NopImage: "nop:test", ShellImage: "shell:test"}
	control := pipelinerun.NewController(&pipeline.Options{Images: images}, clock.RealClock{})(ctx, watcher)
	if aware, ok := control.Reconciler.(reconciler.LeaderAware); ok {
		must(t, aware.Promote(reconciler.UniversalBucket(), func(reconciler.Bucket, types.NamespacedName) {}))
	}
	must(t, watcher.Start(ctx.Done()))

	done := played{Tasks: []taskPlayed{}, Skipped: map[string]string{}, Results: map[string]string{}}
	tasks := clients.Pipeline.TektonV1().TaskRuns(run.Namespace)
	var now *v1.PipelineRun
	for range mostRounds {
		// What it returns says whether it wants to be asked again; how the run is, the run says.
		_ = control.Reconciler.Reconcile(ctx, run.Namespace+"/"+run.Name)
		var err error
		now, err = clients.Pipeline.TektonV1().PipelineRuns(run.Namespace).Get(ctx, run.Name, metav1.GetOptions{})
		must(t, err)
		text, err := json.Marshal(now)
		must(t, err)
		done.Size = max(done.Size, len(text))
		if now.IsDone() {
			break
		}
		listed, err := tasks.List(ctx, metav1.ListOptions{})
		must(t, err)
		sort.Slice(listed.Items, func(i, j int) bool { return listed.Items[i].Name < listed.Items[j].Name })
		for number := range listed.Items {
			taskRun := &listed.Items[number]
			if taskRun.IsDone() {
				continue
			}
			done.Tasks = append(done.Tasks, finish(t, taskRun, one.Rules))
			_, err := tasks.UpdateStatus(ctx, taskRun, metav1.UpdateOptions{})
			must(t, err)
		}
	}
	condition := now.Status.GetCondition(apis.ConditionSucceeded)
	done.Status, done.Reason, done.Message = string(condition.Status), condition.Reason, condition.Message
	for _, skipped := range now.Status.SkippedTasks {
		done.Skipped[skipped.Name] = string(skipped.Reason)
	}
	for _, result := range now.Status.Results {
		done.Results[result.Name] = result.Value.StringVal
	}
	return done
}

func finish(t *testing.T, run *v1.TaskRun, rules []rule) taskPlayed {
	t.Helper()
	found := taskPlayed{
		Name: run.Name, Task: run.Labels[pipeline.PipelineTaskLabelKey], Params: map[string]string{},
		Account: run.Spec.ServiceAccountName,
	}
	if run.Spec.PodTemplate != nil {
		found.Selector = run.Spec.PodTemplate.NodeSelector
	}
	for _, param := range run.Spec.Params {
		found.Params[param.Name] = param.Value.StringVal
	}
	var chosen rule
	for _, candidate := range rules {
		if fits(candidate, found) {
			chosen = candidate
			break
		}
	}
	found.Failed = chosen.Fails
	condition := apis.Condition{Type: apis.ConditionSucceeded, Status: corev1.ConditionTrue, Reason: "Succeeded"}
	if chosen.Fails {
		condition.Status, condition.Reason = corev1.ConditionFalse, "Failed"
	}
	run.Status.SetCondition(&condition)
	run.Status.StartTime = &metav1.Time{Time: time.Now()}
	run.Status.CompletionTime = &metav1.Time{Time: time.Now()}
	for name, value := range chosen.Results {
		text, err := json.Marshal(value)
		must(t, err)
		result := v1.TaskRunResult{Name: name, Type: v1.ResultsTypeString}
		must(t, json.Unmarshal(text, &result.Value))
		result.Type = v1.ResultsType(result.Value.Type)
		run.Status.Results = append(run.Status.Results, result)
	}
	return found
}

func fits(candidate rule, found taskPlayed) bool {
	if ok, _ := path.Match(candidate.Task, found.Task); !ok {
		return false
	}
	for name, value := range candidate.Params {
		if found.Params[name] != value {
			return false
		}
	}
	return true
}
