// savedmodel check: what would keep the model's functions from running.
#include <cstdio>

#include "src/cli/commands.h"
#include "src/cli/json_output.h"

namespace savedmodel::cli {

int Check(const ModelArgs& args) {
  auto model = LoadModel(args);
  if (!model.ok()) return Fail(model.status());
  const std::vector<Problem> problems = model->Check();
  if (args.json) {
    Json list = Json::array();
    for (const Problem& p : problems) {
      list.push_back({{"function", p.function},
                      {"node", p.node},
                      {"op", p.op},
                      {"code", StatusCodeName(p.status.code())},
                      {"message", p.status.message()}});
    }
    PrintJson({{"signatures", model->signatures().size()},
               {"functions", model->function_names().size()},
               {"problems", list}});
  } else {
    for (const Problem& p : problems) {
      std::printf("%s: %s%s%s\n", p.function.c_str(), p.node.c_str(),
                  p.op.empty() ? "" : (" (" + p.op + "): ").c_str(), p.status.ToString().c_str());
    }
    const std::string result =
        problems.empty() ? "all can run" : "problems: " + std::to_string(problems.size());
    std::printf("%zu signatures, %zu functions of the library; %s\n", model->signatures().size(),
                model->function_names().size(), result.c_str());
  }
  return problems.empty() ? kOk : kFailed;
}

}  // namespace savedmodel::cli
